from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from claude_grpc.simulator import Simulator

SKILLS = "/v1/skills"
OLD = {"anthropic_beta": "skills-2025-10-02"}


def skill_md(name: str = "my-skill", description: str = "Does it") -> bytes:
    return f"---\nname: {name}\ndescription: '{description}'\n---\n# How\n".encode()


def files(*more: tuple[str, bytes], content: bytes = skill_md()) -> list[tuple[str, str | None, bytes]]:
    named = (("my-skill/SKILL.md", content), *more)
    return [("files[]", path, body) for path, body in named]


async def make(ask: Any, *more: Any, **headers: str) -> dict[str, Any]:
    reply = await ask.upload(*files(), *more, path=SKILLS, **headers)
    assert reply.status == 200
    made: dict[str, Any] = reply.json
    return made


async def make_version(ask: Any, skill: dict[str, Any], **headers: str) -> dict[str, Any]:
    content = skill_md(description="Does it better")
    reply = await ask.upload(*files(content=content), path=f"{SKILLS}/{skill['id']}/versions", **headers)
    assert reply.status == 200
    made: dict[str, Any] = reply.json
    return made


async def test_a_skill_has_a_name_and_a_first_version(ask: Any) -> None:
    skill = await make(ask)
    assert skill == {
        "id": skill["id"],
        "type": "skill",
        "display_name": "my-skill",
        "latest_version_id": skill["latest_version_id"],
        "source": {"type": "custom"},
        "created_at": skill["created_at"],
        "updated_at": skill["updated_at"],
    }
    version = (await ask.get(f"{SKILLS}/{skill['id']}/versions/{skill['latest_version_id']}")).json
    assert version == {
        "id": skill["latest_version_id"],
        "type": "skill_version",
        "skill_id": skill["id"],
        "name": "my-skill",
        "description": "Does it",
        "created_at": version["created_at"],
    }
    assert (await ask.get(f"{SKILLS}/{skill['id']}")).json == skill


async def test_a_skill_may_be_given_a_name(ask: Any) -> None:
    assert (await make(ask, ("display_name", None, "Für alle".encode())))["display_name"] == "Für alle"
    for name in (b"x" * 256, b"a\nb"):
        reply = await ask.upload(*files(), ("display_name", None, name), path=SKILLS)
        assert (reply.status, reply.error[:13]) == (400, "display_name:")


async def test_a_new_version_becomes_the_latest(ask: Any) -> None:
    skill = await make(ask)
    version = await make_version(ask, skill)
    assert version["description"] == "Does it better"
    path = f"{SKILLS}/{skill['id']}"
    assert (await ask.get(path)).json["latest_version_id"] == version["id"]
    first = (await ask.get(f"{path}/versions?limit=1")).json
    assert [entry["id"] for entry in first["data"]] == [version["id"]]
    second = (await ask.get(f"{path}/versions?limit=1&page={first['next_page']}")).json
    assert ([entry["id"] for entry in second["data"]], second["next_page"]) == ([skill["latest_version_id"]], None)


async def test_a_version_is_downloaded_as_a_zip(ask: Any) -> None:
    reply = await ask.upload(*files(("my-skill/lib/a.py", b"pass")), path=SKILLS)
    path = f"{SKILLS}/{reply.json['id']}/versions/{reply.json['latest_version_id']}/content"
    download = await ask.get(path)
    assert download.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(download.body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "my-skill/SKILL.md": skill_md(),
            "my-skill/lib/a.py": b"pass",
        }
    assert (await ask.get(path)).body == download.body


async def test_a_deleted_version_is_gone_but_one_stays(ask: Any) -> None:
    skill = await make(ask)
    await make_version(ask, skill)
    path = f"{SKILLS}/{skill['id']}/versions"
    deleted = await ask.delete(f"{path}/{skill['latest_version_id']}")
    assert deleted.json == {"id": skill["latest_version_id"], "type": "skill_version_deleted"}
    assert (await ask.get(f"{path}/{skill['latest_version_id']}")).status == 404
    (left,) = (await ask.get(path)).json["data"]
    assert (await ask.delete(f"{path}/{left['id']}")).status == 400


async def test_a_deleted_skill_is_gone_with_its_versions(ask: Any, simulator: Simulator) -> None:
    skill = await make(ask)
    await make_version(ask, skill)
    path = f"{SKILLS}/{skill['id']}"
    assert (await ask.delete(path)).json == {"id": skill["id"], "type": "skill_deleted"}
    for gone in (path, f"{path}/versions", f"{path}/versions/{skill['latest_version_id']}"):
        assert (await ask.get(gone)).error == f"Skill not found: {skill['id']}"
    assert simulator._api.quota.used == 0


async def test_anthropics_skills_are_listed_last_and_read_only(ask: Any) -> None:
    skill = await make(ask)
    listed = (await ask.get(SKILLS)).json["data"]
    assert [entry["id"] for entry in listed] == [skill["id"], "xlsx", "pptx", "pdf", "docx"]
    assert listed[1]["source"] == {"type": "anthropic"}
    own = (await ask.get(f"{SKILLS}?source=custom")).json["data"]
    assert [entry["id"] for entry in own] == [skill["id"]]
    assert (await ask.get(f"{SKILLS}?source=mine")).status == 400
    assert (await ask.get(f"{SKILLS}/pdf/versions/{listed[1]['latest_version_id']}")).status == 200
    assert (await ask.delete(f"{SKILLS}/pdf")).status == 403


async def test_skills_are_listed_by_page(ask: Any) -> None:
    first = (await ask.get(f"{SKILLS}?limit=2")).json
    assert [entry["id"] for entry in first["data"]] == ["xlsx", "pptx"]
    second = (await ask.get(f"{SKILLS}?limit=2&page={first['next_page']}")).json
    assert ([entry["id"] for entry in second["data"]], second["next_page"]) == (["pdf", "docx"], None)


async def test_the_old_beta_has_the_old_shapes(ask: Any) -> None:
    untitled = await make(ask, **OLD)
    assert untitled["display_title"] is None
    skill = await make(ask, ("display_title", None, b"Mine"), **OLD)
    assert (skill["display_title"], skill["source"]) == ("Mine", "custom")
    assert "display_name" not in skill
    version = await make_version(ask, skill, **OLD)
    assert int(version["version"]) > int(skill["latest_version"]) > 1_700_000_000_000_000
    assert version["directory"] == "my-skill"
    path = f"{SKILLS}/{skill['id']}"
    assert (await ask.get(f"{path}/versions/{version['version']}", **OLD)).json == version
    assert (await ask.get(f"{path}/versions/{version['id']}", **OLD)).status == 404
    assert (await ask.get(f"{path}/versions/{version['version']}")).status == 404


async def test_in_the_old_beta_the_versions_are_deleted_first(ask: Any) -> None:
    skill = await make(ask, **OLD)
    path = f"{SKILLS}/{skill['id']}"
    refused = await ask.delete(path, **OLD)
    assert (refused.status, "Delete all versions first" in refused.error) == (400, True)
    deleted = await ask.delete(f"{path}/versions/{skill['latest_version']}", **OLD)
    assert deleted.json == {"id": skill["latest_version"], "type": "skill_version_deleted"}
    assert (await ask.get(path, **OLD)).json["latest_version"] is None
    assert (await ask.delete(path, **OLD)).status == 200


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([], "files: Field required"),
        (files(("other/a.py", b"")), "files: all files must be in the same top-level directory"),
        ([("files[]", "SKILL.md", skill_md())], "files: all files must be in the same top-level directory"),
        ([("files[]", "my-skill/a.py", b"")], "files: a SKILL.md file is required"),
        (files(("my-skill/../a.py", b"")), "files: invalid path my-skill/../a.py"),
        (files(("my-skill//a.py", b"")), "files: invalid path my-skill//a.py"),
        (files(("my-skill/SKILL.md", b"")), "files: my-skill/SKILL.md was sent twice"),
        (files(content=b"# How"), "SKILL.md: must start with YAML frontmatter"),
        (files(content=b"\xff"), "SKILL.md: must be UTF-8"),
        (files(content=skill_md("My Skill")), "SKILL.md: name must be"),
        (files(content=skill_md("claude-helper")), "SKILL.md: name must be"),
        (files(content=skill_md(description="")), "SKILL.md: description must be"),
        (files(content=skill_md(description="x" * 1025)), "SKILL.md: description must be"),
        ([*files(), ("display_title", None, b"Mine")], "display_title: Extra inputs are not permitted"),
        ([("files[]", None, b"")], "files[]: Extra inputs are not permitted"),
    ],
)
async def test_files_that_are_no_skill_are_refused(ask: Any, simulator: Simulator, parts: Any, problem: str) -> None:
    reply = await ask.upload(*parts, path=SKILLS)
    assert reply.status == 400
    assert reply.error.startswith(problem)
    assert simulator._api.quota.used == 0


async def test_the_name_is_the_directorys_when_it_is_not_told(ask: Any) -> None:
    reply = await ask.upload(*files(content=b"---\ndescription: Does it\n---"), path=SKILLS)
    assert reply.json["display_name"] == "my-skill"


async def test_a_version_keeps_the_name_of_its_skill(ask: Any) -> None:
    skill = await make(ask)
    reply = await ask.upload(*files(content=skill_md("other")), path=f"{SKILLS}/{skill['id']}/versions")
    assert (reply.status, reply.error) == (400, "SKILL.md: name must stay `my-skill`, not `other`")


async def test_a_skill_has_30_megabytes_at_most(ask: Any) -> None:
    async def form() -> Any:
        yield b'--B\r\nContent-Disposition: form-data; name="files[]"; filename="a/a.bin"\r\n\r\n'
        for _ in range(31):
            yield b"x" * (1024 * 1024)
        yield b"\r\n--B--"

    reply = await ask.post(form(), SKILLS, Content_Type="multipart/form-data; boundary=B")
    assert (reply.status, reply.error) == (413, "files[] exceeds the maximum size")
