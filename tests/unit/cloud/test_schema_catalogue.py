"""Against keystone's managers in memory; tests/cloud has the real ones."""

from typing import Any

from beastack.cloud import schema_catalogue


class Keystone:
    """All managers in one."""

    def __init__(self) -> None:
        self.projects: list[dict[str, Any]] = [{"id": "a", "name": "admin"}]
        self.all_users: list[dict[str, Any]] = []
        self.grants: set[tuple[str, str, str]] = set()
        self.services: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.resource_api = self.role_api = self.identity_api = self.assignment_api = self.catalog_api = self

    def list_projects_in_domain(self, domain: str) -> list[dict[str, Any]]:
        return self.projects

    def create_project(self, _id: str, ref: dict[str, Any]) -> None:
        self.projects.append(ref)

    def list_roles(self) -> list[dict[str, Any]]:
        return [{"name": n, "id": f"role-{n}"} for n in ("admin", "member", "service")]

    def list_users(self, domain_scope: str) -> list[dict[str, Any]]:
        return list(self.all_users)

    def create_user(self, ref: dict[str, Any]) -> dict[str, Any]:
        self.all_users.append(ref | {"id": f"id-{ref['name']}"})
        return self.all_users[-1]

    def get_roles_for_user_and_project(self, user: str, project: str) -> list[str]:
        return [r for u, p, r in self.grants if (u, p) == (user, project)]

    def add_role_to_user_and_project(self, user: str, project: str, role: str) -> None:
        self.grants.add((user, project, role))

    def list_services(self) -> list[dict[str, Any]]:
        return list(self.services.values())

    def create_service(self, _id: str, ref: dict[str, Any]) -> None:
        self.services[_id] = ref

    def list_endpoints(self) -> list[dict[str, Any]]:
        return list(self.endpoints.values())

    def create_endpoint(self, _id: str, ref: dict[str, Any]) -> None:
        self.endpoints[_id] = ref

    def update_endpoint(self, _id: str, ref: dict[str, Any]) -> None:
        self.endpoints[_id] |= ref


def fill(keystone: Keystone, address: str = "http://a") -> None:
    schema_catalogue.users(keystone, ["nova", "neutron"], "secret")
    schema_catalogue.endpoints(keystone, [("nova", "compute", f"{address}:8774/v2.1")], "RegionOne")


def test_a_second_time_makes_nothing() -> None:
    keystone = Keystone()
    fill(keystone)
    counts = (len(keystone.projects), len(keystone.all_users), len(keystone.grants), len(keystone.endpoints))
    assert counts == (2, 2, 4, 3)
    fill(keystone)
    assert counts == (len(keystone.projects), len(keystone.all_users), len(keystone.grants), len(keystone.endpoints))


def test_service_users_have_their_roles_in_their_own_project_only() -> None:
    keystone = Keystone()
    fill(keystone)
    service = next(p["id"] for p in keystone.projects if p["name"] == "service")
    assert {p for _, p, _ in keystone.grants} == {service}
    assert {r for _, _, r in keystone.grants} == {"role-admin", "role-service"}


def test_endpoints_follow_the_clouds_address() -> None:
    keystone = Keystone()
    fill(keystone)
    fill(keystone, "http://b")
    assert {e["url"] for e in keystone.endpoints.values()} == {"http://b:8774/v2.1"}
