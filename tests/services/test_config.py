"""Configurations: the annotated example, and what is refused with which words."""

import tomllib
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from serving import configuration

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.delivery.places import SETTINGS
from mwaconvert.services.config import BucketSetting, Config, check_config, read_config
from mwaconvert.services.server import working

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "service.toml"


def test_the_example_is_valid_and_names_every_setting():
    text = EXAMPLE.read_text()
    config = Config.model_validate(tomllib.loads(text), context={"base": Path("/etc")})
    assert config.delivery.shared
    assert config.server.is_secure
    for part in (
        config,
        config.server,
        config.delivery,
        config.conversion,
        config.workers,
        config.slurm,
        config.quotas,
        config.upkeep,
        config.chime,
        *config.chime.images.values(),
    ):
        for name in type(part).model_fields:
            assert f"{name} =" in text or f"[{name}]" in text or f".{name}." in text, name


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sever": {}}, "sever: Extra inputs are not permitted"),
        ({"server": {"port": 70000}}, "server.port: Input should be less than or equal to 65535"),
        ({"server": {"tls_cert": "a.pem"}}, "server: tls_cert and tls_key go together"),
        ({"server": {"host": "0.0.0.0"}}, "server: host 0.0.0.0 is reached from other machines"),
        ({"server": {"public_url": "ftp://x"}}, "server.public_url: String should match pattern"),
        ({"raw": ["/no/such/folder"]}, "raw.0: there is no folder /no/such/folder"),
        ({"raw": []}, "raw: Tuple should have at least 1 item"),
        ({"delivery": {"packages": "https://x/y"}}, "delivery: packages go to a folder or an s3:// bucket"),
        ({"delivery": {"packages": "p", "scratch": "s"}}, "delivery: name the groups"),
        ({"delivery": {"packages": "p", "groups": ["../x"]}}, "delivery.groups.0: String should match pattern"),
        ({"delivery": {"packages": {"place": "s3://b", "settings": {"allow": 1}}}}, "delivery.packages.settings.allow"),
        ({"conversion": {"max_memory": "much"}}, "conversion.max_memory: "),
        ({"slurm": {"options": ["--partition=work", "--wrap x; rm -rf ~"]}}, "slurm.options.1: String should match"),
        ({"slurm": {"poll_s": 0}}, "slurm.poll_s: Input should be greater than or equal to 1"),
        ({"chime": {"executor": "magic"}}, "chime.executor: Input should be 'process'"),
        ({"chime": {"roots": ["site=/"]}}, "chime.roots.0: site=/: this would serve all files of the machine"),
        ({"chime": {"roots": ["site=/no/such"]}}, "chime.roots: there is no folder /no/such"),
        ({"chime": {"archive": "/no/such"}}, "chime.archive: there is no folder /no/such"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, changes, text):
    with pytest.raises(InputError) as caught:
        configuration(tmp_path, **changes)
    assert text in str(caught.value)


def test_a_site_with_batch_jobs(tmp_path):
    assert configuration(tmp_path).site().slurm is None
    slurm = configuration(tmp_path, slurm={"options": ["--partition=work"], "poll_s": 7}).site().slurm
    assert (slurm.options, slurm.poll_s) == (("--partition=work",), 7)


def test_a_worker_that_cannot_submit_batch_jobs_does_not_start(tmp_path, monkeypatch):
    config = configuration(tmp_path, slurm={})
    monkeypatch.setenv("PATH", str(tmp_path))
    store = Store(config.database)
    with pytest.raises(ResourceError, match="slurm: there is no sbatch on PATH"), working(config, store):
        pass
    store.close()


def test_settings_of_buckets_are_those_of_the_library_below():
    assert get_args(BucketSetting) == SETTINGS


def test_all_problems_are_told_at_once(tmp_path):
    with pytest.raises(InputError, match=r"database: .*; work: .*; delivery: "):
        check_config({"raw": ["x"]}, tmp_path / "a.toml")


def test_relative_paths_begin_at_the_file(tmp_path):
    config = configuration(tmp_path)
    assert config.work == tmp_path / "work"
    assert config.database == str(tmp_path / "jobs.db")


@pytest.fixture
def path(tmp_path) -> Path:
    for name in ("raw", "scratch"):
        (tmp_path / name).mkdir()
    found = tmp_path / "mwaconvert.toml"
    found.write_text(
        'database = "jobs.db"\nwork = "work"\nraw = ["raw"]\n'
        '[delivery]\npackages = "p"\nscratch = "scratch"\ngroups = ["mwa"]\n[quotas]\nqueued = 5\n'
    )
    return found


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_config_check(path):
    assert run("config", "check", path).startswith(f"{path}: in order")
    path.write_text(path.read_text() + "surplus = 1\n")
    assert "surplus" in run("config", "check", path, code=2)
    path.write_text("no toml")
    assert "is not a TOML file" in run("config", "check", path, code=2)


def test_users_come_and_go(path):
    key = run("users", "add", "ann", "--group", "mwa", "--disk", "1GiB", "--config", path).strip()
    store = Store(read_config(path).database)
    user = store.authenticate(key)
    assert (user.name, user.details, user.quotas.queued, user.quotas.disk) == (
        "ann",
        {"group": "mwa"},
        5,
        2**30,
    )
    assert "there is a user ann already" in run("users", "add", "ann", "--config", path, code=2)
    new = run("users", "add", "ann", "--replace", "--role", "view", "--config", path).strip()
    assert store.authenticate(key) is None
    assert store.authenticate(new) is not None
    assert "view" in run("users", "list", "--config", path)
    run("users", "revoke", "ann", "--config", path)
    assert store.authenticate(new) is None
    assert "revoked" in run("users", "list", "--config", path)
    assert "no group x" in run("users", "add", "bob", "--group", "x", "--config", path, code=2)
    assert "not a user name" in run("users", "add", "../x", "--config", path, code=2)
    store.close()
