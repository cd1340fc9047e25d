"""A redirect of the Hub leads nowhere that is nearer than the Hub: its answers would become texts of tokens."""

from __future__ import annotations

import pytest
from support.hub_model import located, planned, read, settings

from jobs.demo.hub.local_hub import Fault, LocalHub, Status
from survey.errors import NotTheHubs
from survey.hub.repositories import resolve
from survey.hub.transport import connections
from survey.hub.transport.origins import origin_of
from survey.hub.transport.reach import Reach, reach_of, refuse_nearer, stated_reach
from survey.opening import open_target
from survey.records.target import Target

REACHES = {
    "127.0.0.1": Reach.MACHINE,
    "127.9.9.9": Reach.MACHINE,
    "0.0.0.0": Reach.MACHINE,
    "::1": Reach.MACHINE,
    "::ffff:127.0.0.1": Reach.MACHINE,
    "169.254.169.254": Reach.LINK,
    "::ffff:169.254.169.254": Reach.LINK,
    "fe80::1": Reach.LINK,
    "10.0.0.1": Reach.PRIVATE,
    "192.168.1.1": Reach.PRIVATE,
    "100.100.100.200": Reach.PRIVATE,
    "fd00:ec2::254": Reach.PRIVATE,
    "52.0.0.1": Reach.WORLD,
    "2600::1": Reach.WORLD,
}


@pytest.mark.parametrize(("address", "reach"), REACHES.items())
def test_an_address_reaches_as_far_as_its_network(address: str, reach: Reach) -> None:
    assert reach_of(address) == reach
    assert stated_reach(address) == reach


@pytest.mark.parametrize("name", ["hub.example", "localhost.example", "0x7f.1", ""])
def test_a_name_does_not_say_where_it_leads(name: str) -> None:
    assert stated_reach(name) is None
    assert stated_reach("localhost") == Reach.MACHINE


HUB = origin_of("https://hub.example")


@pytest.mark.parametrize(
    ("to", "reach", "hub_reach"),
    [
        ("http://127.0.0.1:8000", Reach.MACHINE, Reach.WORLD),
        ("http://169.254.169.254", Reach.LINK, Reach.WORLD),
        ("http://10.0.0.1", Reach.PRIVATE, Reach.WORLD),
        ("http://169.254.169.254", Reach.LINK, Reach.PRIVATE),
        ("http://127.0.0.1", Reach.MACHINE, Reach.LINK),
        ("http://169.254.169.254", Reach.LINK, None),
    ],
)
def test_what_is_nearer_than_the_hub_is_refused(to: str, reach: Reach, hub_reach: Reach | None) -> None:
    with pytest.raises(NotTheHubs, match=f"redirects to {to} on ") as caught:
        refuse_nearer(origin_of(to), reach, HUB, hub_reach)
    assert caught.value.where == str(HUB)


@pytest.mark.parametrize(
    ("to", "reach", "hub_reach"),
    [
        ("http://52.0.0.1", Reach.WORLD, Reach.WORLD),
        ("http://10.0.0.2", Reach.PRIVATE, Reach.PRIVATE),  # a company's Hub and its storage
        ("http://10.0.0.2", Reach.PRIVATE, None),
        ("http://52.0.0.1", Reach.WORLD, Reach.PRIVATE),
        ("http://127.0.0.2", Reach.MACHINE, Reach.MACHINE),
        ("https://10.0.0.2", Reach.PRIVATE, Reach.WORLD),  # its certificate says whose it is
        ("http://storage.example", None, Reach.WORLD),  # before its name is resolved
        (str(HUB), Reach.MACHINE, Reach.WORLD),
    ],
)
def test_all_else_is_followed(to: str, reach: Reach | None, hub_reach: Reach | None) -> None:
    refuse_nearer(origin_of(to), reach, HUB, hub_reach)


REDIRECTS = {
    "a small file": {"path_contains": "config.json"},
    "weights": {"path_contains": "model.safetensors", "method": "HEAD"},
    "a range": {"server": "cdn"},
    "the API": {"path_contains": "/api/models/org/model"},
}


def _use(hub: LocalHub, target: Target) -> None:
    read(open_target(target, settings(hub)))
    located(resolve("org/model", None, settings(hub)), 1)


@pytest.mark.parametrize("to", ["http://127.0.0.3:{}/latest/keys", "http://0x7f.3:{}/", "http://127.3:{}/"])
@pytest.mark.parametrize("chosen", REDIRECTS.values(), ids=REDIRECTS)
def test_a_service_of_this_machine_is_not_asked(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], to: str
) -> None:
    target = planned(hub)

    def of_the_world(address: str) -> Reach:  # as if the Hub and its storage were on the internet
        return reach_of("52.0.0.1" if address in ("127.0.0.1", "127.0.0.2") else address)

    monkeypatch.setattr(connections, "reach_of", of_the_world)
    monkeypatch.setattr(connections, "stated_reach", lambda host: None)
    assert read(open_target(target, settings(hub))) is not None  # the Hub's own redirects are followed
    with LocalHub(host="127.0.0.3") as service:
        location = to.format(service.endpoint.rpartition(":")[2])
        hub.faults = [
            Fault(
                Status(307, {"Location": location, "X-Repo-Commit": target.identity.sha}),
                times=None,
                **chosen,
            )
        ]  # type: ignore[arg-type]
        with pytest.raises(NotTheHubs, match=r"redirects to http://.* on this machine"):
            _use(hub, target)
        assert not service.log
