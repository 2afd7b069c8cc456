"""Mail of the live services: over TLS to a real SMTP server, each letter once, whatever dies in between."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("aiosmtpd")
from live_node import run_async
from mail_box import Box, mail_servers
from test_senders import Wire, give, trigger

from mwaconvert.errors import InputError
from mwaconvert.jobs.delivery.mail import Security
from mwaconvert.live.observation import Observation
from mwaconvert.live.processing.merge import merge
from mwaconvert.live.processing.products import Counts, write_lists
from mwaconvert.live.settings import settings_of
from mwaconvert.services.live.node import Site, read_site
from mwaconvert.services.live.processes.processor import Processor
from mwaconvert.services.live.processes.senders import FinalError, LofarSender


@pytest.fixture
def box():
    return Box()


@pytest.fixture
def site(box, tmp_path):
    """Of a node whose mail goes to two addresses over TLS with a password."""
    with mail_servers(box, tmp_path) as start:
        server = start(Security.STARTTLS)
        yield Site(
            settings_of(
                {
                    "network": {"state_dir": str(tmp_path), "node": "n"},
                    "lofar_trigger": {"interval": 0.01, "send_events": True},
                    "mail": {
                        "host": server.host,
                        "port": server.port,
                        "sender": "arts@example.org",
                        "to": ["ann@example.org", "bob@example.org"],
                        "ca": str(server.ca),
                        "user": server.user,
                        "password_file": str(server.password_file),
                    },
                }
            )
        )


def send_all(service):
    service.post_box.send(list(service.post_box.waiting))


def test_a_freeze_is_told_once_to_each(site, box):
    async def job(sender):
        Wire(sender, [FinalError("no host")])
        await give(sender, trigger(), trigger(id="1-00-2", dm=900.0, time_s=time.time() - 5))

    sender = LofarSender(site)
    run_async(job(sender))
    send_all(sender)
    again = LofarSender(site)
    again.mail_of(trigger(), "sent", test=True)
    send_all(again)
    assert sorted(to[0] for to, _, _ in box.letters) == ["ann@example.org"] * 2 + ["bob@example.org"] * 2
    assert {subject for _, subject, _ in box.letters} == {"ARTS LOFAR Trigger Alert (test)"}
    text = "".join(text for _, _, text in box.letters)
    assert "DM                 500.00 pc/cm^3" in text
    assert "failed: no host" in text


def test_a_summary_and_a_warning_of_an_observation(site, box, tmp_path):
    seen = Observation(
        task_id="7", source="field", datetimesource="d.field", start_s=0.0, duration_s=9.0, beam=0, source_beam=0,
        amber_dir=Path("a"), output_dir=Path("o"),
    )  # fmt: skip
    page = tmp_path / "A_info.html"
    page.write_text("<p>page</p>")
    (tmp_path / "CB00.pdf").write_bytes(b"%PDF")
    write_lists(tmp_path, 0, [], Counts(raw=1))
    for _ in range(2):
        processor = Processor(site)
        processor._mail_merged(seen, merge(tmp_path, [0, 3]), page)
        send_all(processor)
    assert sorted(subject for _, subject, _ in box.letters) == [
        *["ARTS FRB Alert System - d.field"] * 2,
        *["ARTS FRB Alert System - warning: 1 beam missing of d.field"] * 2,
    ]
    assert sorted(box.files) == [[], [], ["CB00.pdf"], ["CB00.pdf"]]
    assert any("CB03: " in text for _, _, text in box.letters)


def test_figures_go_along(site, box, tmp_path):
    """As far as they are there, and the server takes them; the mail names the others."""
    from mwaconvert.services.live.processes.mails import PostBox

    small, large = tmp_path / "CB00.pdf", tmp_path / "CB01.pdf"
    small.write_bytes(b"%PDF" + bytes(30_000))
    large.write_bytes(bytes(8_000_000))
    post_box = PostBox(LofarSender(site))
    post_box.put("a", "Figures", "text\n", html="<p>text</p>", files=[small, large, tmp_path / "CB02.pdf"])
    post_box.send([id for id in post_box.waiting if "ann" in id])
    box.largest = 20_000
    post_box.send(list(post_box.waiting))
    assert box.files == [["CB00.pdf"], []]
    first, second = (text.replace("\r", "") for _, _, text in box.letters)
    assert f"{large}: too large for a mail\n{tmp_path / 'CB02.pdf'}: No such file or directory\n" in first
    assert "CB00.pdf: too large for 127.0.0.1" in second
    assert not post_box.waiting


def test_a_refusal_is_said_and_tried_again(site, box):
    sender = LofarSender(site)
    box.refuse = "451 not now"
    sender.mail_of(trigger(), "sent", test=False)
    send_all(sender)
    assert "451" in sender.trouble["mail"]
    assert all(letter.due_s > time.monotonic() for letter in sender.post_box.waiting.values())
    box.refuse = ""
    after = LofarSender(site)  # letters that were refused wait for the next process, too
    send_all(after)
    assert len(box.letters) == 2
    assert "mail" not in after.trouble


def test_what_was_going_out_at_a_crash_is_not_sent_again(site, box):
    sender = LofarSender(site)
    sender.mail_of(trigger(), "sent", test=False)
    id = next(iter(sender.post_box.waiting))
    sender.post_box.journal.append({"id": id, "at_s": time.time(), "sending": "x"})
    after = LofarSender(site)
    assert (
        after.trouble["mail"]
        == f"{id}: unknown: it may have been sent when the service ended; not sent again"
    )
    send_all(after)
    assert len(box.letters) == 1
    assert not LofarSender(site).post_box.waiting


def test_a_full_disk_sends_no_mail(site, box, monkeypatch):
    def no_room(*_, **__):
        raise OSError(28, "No space left on device")

    sender = LofarSender(site)
    monkeypatch.setattr(sender.post_box.journal, "append", no_room)
    sender.mail_of(trigger(), "sent", test=False)
    send_all(sender)
    assert "No space" in sender.trouble["mail"]
    assert box.letters == []
    monkeypatch.undo()
    send_all(sender)
    assert len(box.letters) == 2


def test_without_a_server_nothing_is_kept(site, tmp_path):
    settings = replace(site.settings, mail=settings_of({}).mail)
    sender = LofarSender(Site(settings))
    sender.mail_of(trigger(), "sent", test=False)
    assert not sender.post_box.waiting
    (tmp_path / "c.yaml").write_text("mail: {host: localhost}")
    with pytest.raises(InputError, match="addresses in `to`"):
        read_site(tmp_path / "c.yaml")
