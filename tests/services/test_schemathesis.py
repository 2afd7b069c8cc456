"""Every route under requests made from its own description: refusals in words, and never a 500."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from serving import SECRET, configuration

from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store
from mwaconvert.services.app import make_app
from mwaconvert.services.asvo.v2 import ACCESS_COOKIE, Use, make_token
from mwaconvert.services.auth import COOKIE

pytestmark = pytest.mark.services
_EXAMPLES = 30


def test_no_route_fails(tmp_path):
    schemathesis = pytest.importorskip("schemathesis")
    config = configuration(tmp_path)
    store = Store(config.database)
    app = make_app(config, store, SECRET)
    service = app.state.service
    session, cookie = service.sessions.log_in(store.add_user("ann", Role.APPROVE), "schemathesis")
    cookies = f"{COOKIE}={cookie}; {ACCESS_COOKIE}={make_token(service, session, Use.ACCESS)}"
    statuses = {
        f"{found.ok().method.upper()} {found.ok().path}": asked(found.ok(), cookies)
        for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations()
    }
    store.close()
    assert len(statuses) > 20
    assert any(200 in seen for seen in statuses.values())


def asked(operation, cookies: str) -> set[int]:
    """The statuses that an operation answers with."""
    seen = set()

    @given(case=operation.as_strategy())
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        headers = {**(case.headers or {})}
        if not operation.path.endswith("/logout"):  # the others need the session
            headers["Cookie"] = cookies
        response = case.call(headers=headers)
        seen.add(response.status_code)
        assert response.status_code < 500, (operation.path, case.body, response.text)

    ask()
    return seen
