"""The front door: usage, help, mistakes, exit codes, completion. Commands themselves are tested in their rooms."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from vla3d import __version__, cli
from vla3d.commands import completion
from vla3d.errors import DataError, WorkerError

HEAVY = ("torch", "mujoco", "transformers", "zarr", "gymnasium", "warp")
PROGRAM = (
    "import sys; from vla3d.cli import main; code = main(); print(*[m for m in {heavy!r} if m in sys.modules]); sys.exit(code)"
)


def vla3d(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; the last line on stdout names the heavy modules that were loaded."""
    command = [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process and an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def the_sentence(result: tuple[int, str, str]) -> str:
    """The one line that a user error leaves on stderr."""
    code, _, err = result
    assert code == 2
    assert err.startswith("vla3d: ") and err.endswith("\n") and err.count("\n") == 1
    return err


# Usage, help, version


def test_bare_command_prints_usage_and_exits_2(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = call()
    assert (code, out) == (2, "")
    assert all(f"  {name} " in err for name in cli.COMMANDS)


def test_version(call: Callable[..., tuple[int, str, str]]) -> None:
    assert call("--version") == (0, f"vla3d {__version__}\n", "")


PARTS = [[name, part] for name, command in cli.COMMANDS.items() for part in command.parts]
COMPOSED = [[name] for name, command in cli.COMMANDS.items() if command.config] + PARTS
DRAWS_NOTHING = [["view"], *(words for words in COMPOSED if words[0] == "convert")]
WRITES_NOTHING = [["serve"]]


@pytest.mark.parametrize(
    "words", [["--help"], *([*name, "--help"] for name in [[n] for n in cli.COMMANDS] + PARTS)], ids=" ".join
)
def test_help_is_quick_and_loads_nothing_heavy(words: Sequence[str], tmp_path: Path) -> None:
    began = time.perf_counter()
    done = vla3d(*words, folder=tmp_path)
    seconds = time.perf_counter() - began
    assert done.returncode == 0 and done.stderr == ""
    assert "vla3d" in done.stdout
    assert done.stdout.splitlines()[-1] == "", "heavy modules were loaded"
    assert seconds < 10, "a loose bound: the machine may be busy; idle it takes 0.6 s"


@pytest.mark.parametrize("words", COMPOSED, ids=" ".join)
def test_help_shows_every_key_and_is_not_hydras_own(words: Sequence[str], call: Callable[..., tuple[int, str, str]]) -> None:
    name = " ".join(words)
    code, out, _ = call(*words, "--help")
    assert code == 0
    assert out.startswith(f"vla3d {name}: ")
    assert "powered by Hydra" not in out and "$" not in out.replace("${steps}", "").replace("${seed}", "")
    assert f"vla3d {name} " in out and ("out: null" in out) == (words not in WRITES_NOTHING)
    assert "seed: " in out or words in DRAWS_NOTHING
    assert ("Groups (choose" in out) == (name in ("train", "pretrain"))


def test_importing_the_library_loads_nothing_heavy() -> None:
    program = f"import sys, vla3d, vla3d.types, vla3d.errors, vla3d.cli; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


# Mistakes


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["trian"], "Unknown command 'trian'. Did you mean 'train'?"),
        (["train", "polciy=bridgevla"], "Unknown key 'polciy'. Did you mean 'policy'?"),
        (["train", "trainer.stepz=3"], "Unknown key 'trainer.stepz'. Did you mean 'trainer.steps'?"),
        (["train", "lr=3"], "Unknown key 'lr'. Did you mean 'trainer.lr'?"),
        (["train", "qqq=3"], "Unknown key 'qqq'. Keys there: data, demos, experiment, out, policy"),
        (["train", "policy=bridgevla_nno"], "Unknown policy 'bridgevla_nno'. Did you mean 'bridgevla_nano'?"),
        (["train", "experiment=tabletop33"], "Unknown experiment 'tabletop33'. Did you mean 'tabletop3'?"),
        (["train", "experimnt=tabletop3"], "Unknown key 'experimnt'. Did you mean 'experiment'?"),
        (["train", "polciy=x", "also=wrong"], "Unknown key 'polciy'. Did you mean 'policy'?"),
        (["train", "policy.name=bridgvla"], "Unknown policy 'bridgvla'. Did you mean 'bridgevla'?"),
        (["train", "+trainer.stepz=3"], "Unknown key 'trainer.stepz'. Did you mean 'trainer.steps'?"),
        (["train", "demos.tasks=[pick_and_lft]", "out=x"], "Unknown task 'pick_and_lft'. Did you mean 'pick_and_lift'?"),
        (["train", "foo"], "Cannot read 'foo'; expected key=value"),
        (["train", "seed=1,2"], "Cannot read 'seed=1,2'; write seed=[1,2] for a list"),
        (["train", "--fast"], "unrecognized arguments: --fast; see vla3d train --help."),
        (["train", "--multirun", "seed=1,2"], "Got several runs at once"),
        (["train", "--config-dir", "nowhere"], "not found"),
        (["train", "~stps"], "'stps' does not exist"),
        (["train", "resume=yes"], "resume: got 'yes', expected true or false."),
        (["train", "resume=true"], "give out=RUN"),
        (["train", "steps=many"], "trainer.steps: got 'many', expected a whole number."),
        (["train", "data=nowhere"], "nowhere is no dataset"),
        (["collect", "episods=3"], "Unknown key 'episods'. Did you mean 'episodes'?"),
        (["collect", "tasks=[pick_and_lft]"], "Unknown task 'pick_and_lft'. Did you mean 'pick_and_lift'?"),
        (["collect", "episodes=0"], "episodes: got 0, expected a whole number of at least 1."),
        (["collect", "tasks=[]"], "tasks: got none"),
        (["rollout"], "give checkpoint=RUN, or policy=scripted or policy=random"),
        (["rollout", "policy=scriptd"], "Unknown policy 'scriptd'. Did you mean 'scripted'?"),
        (["rollout", "policy=bridgevla"], "give checkpoint=RUN instead"),
        (["rollout", "policy=random", "control=swop"], "Unknown control 'swop'. Did you mean 'swap'?"),
        (["rollout", "policy=random", "tasks=open_drwer"], "Unknown task 'open_drwer'. Did you mean 'open_drawer'?"),
        (["rollout", "checkpoint=nowhere"], "No checkpoint in nowhere"),
        (["evaluate"], "Got no checkpoint; give checkpoint=RUN."),
        (["evaluate", "policy=random"], "Unknown key 'policy'"),
        (["evaluate", "checkpoint=nowhere"], "No checkpoint in nowhere"),
        (["evaluate", "checkpoint=x", "demos=validaton"], "Unknown demos 'validaton'. Did you mean 'validation'?"),
        (["evaluate", "checkpoint=x", "control=swap"], "Unknown control 'swap'. Did you mean 'swap_text'?"),
        (["evaluate", "checkpoint=x", "limit=0"], "limit: got 0, expected a whole number of at least 1."),
        (["evaluate", "checkpoint=x", "device=cuca"], "Unknown device 'cuca'. Did you mean 'cuda'?"),
        (["bench"], "Got no operations, expected one of points, views: vla3d bench points."),
        (["bench", "pionts"], "Unknown operations 'pionts'. Did you mean 'points'?"),
        (["bench", "points", "sizs=[3]"], "Unknown key 'sizs'. Did you mean 'sizes'?"),
        (["bench", "points", "out=figures"], "out: got figures, expected a file that ends in .json."),
        (["bench", "points", "views"], "Cannot read 'views'; expected key=value"),
        (["view"], "Got no path, expected a dataset, a rollout or an episode of one: vla3d view PATH."),
        (["view", "nowhere"], "nowhere does not exist; expected a dataset"),
        (["view", "nowhere/with, a 'quote'"], "nowhere/with, a 'quote' does not exist"),
        (["view", "./it's no=where"], "it's no=where does not exist; expected a dataset"),
        (["convert", "/it's no=where", "out=x"], "/it's no=where is no dataset: it does not exist."),
        (["view", "nowhere", "format=gif"], "Unknown format 'gif'."),
        (["view", "nowhere", "episdoe=3"], "Unknown key 'episdoe'. Did you mean 'episode'?"),
        (["view", "cameras"], "Got no path, expected a folder with cameras.json"),
        (["view", "cameras", "nowhere"], "nowhere does not exist; expected a folder with cameras.json"),
        (["view", "cameras", "nowhere", "threshold_mm=-1"], "threshold_mm: got -1, expected millimetres, more than 0."),
        (["view", "cameras", "x", "thresold_mm=3"], "Did you mean 'threshold_mm'? (See vla3d view cameras --help.)"),
        (["convert"], "Got no path, expected the demonstrations: vla3d convert FOLDER DATASET."),
        (["convert", "nowhere"], "Got no out, expected a folder for the dataset"),
        (["convert", "nowhere", "out"], "nowhere is no dataset: it does not exist."),
        (
            ["convert", "gembench", "nowhere", "out"],
            "nowhere is no dataset of the format gembench; give a folder of GemBench's",
        ),
        (["convert", "rlbench", "nowhere", "out", "stict=true"], "Unknown key 'stict'. Did you mean 'strict'?"),
        (["convert", "gembench", "nowhere", "out", "keyframe_rule=vla3d"], "Unknown key 'keyframe_rule'."),
        (["convert", "nowhere", "out", "format=gemebnch"], "Unknown demonstration format 'gemebnch'. Did you mean 'gembench'?"),
        (["convert", "nowhere", "out", "more"], "Cannot read 'more'; expected key=value"),
        (["convert", "rlbnch", "nowhere", "out"], "Unknown part of vla3d convert 'rlbnch'. Did you mean 'rlbench'?"),
        (["convert", "nowhere", "nowhere/out"], "nowhere/out lies in the demonstrations to convert, nowhere; choose a folder"),
        (["convert", "nowhere", "out", "episodes=0"], "episodes: got 0, expected a whole number of at least 1."),
        (["convert", "nowhere", "out", "cameras=[a,a]"], "cameras: got a more than once; name each once."),
        (["graph"], "Got no input, expected a task, a dataset, a folder with cameras.json or a graph: vla3d graph INPUT."),
        (["graph", "pick_and_lft"], "Unknown task or path 'pick_and_lft'. Did you mean 'pick_and_lift'?"),
        (["graph", "pick_and_lift", "way=mask"], "Unknown way 'mask'. Did you mean 'masks'?"),
        (["graph", "pick_and_lift", "step=-1"], "step: got -1, expected a whole number of at least 0."),
        (["graph", "pick_and_lift", "sed=1"], "Unknown key 'sed'. Did you mean 'seed'?"),
        (["info", "nowhere"], "nowhere is no dataset"),
        (["info", "--fast"], "unrecognized arguments: --fast; see vla3d info --help."),
        (["-sc"], "expected a shell"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(
    words: Sequence[str], part: str, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert part in the_sentence(call(*words))
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


def test_a_refused_command_restores_the_configuration_of_before(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("steps: 1\n")
    the_sentence(call("train", "data=nowhere", "out=run"))
    assert (tmp_path / "run" / "config.yaml").read_text() == "steps: 1\n"


def test_out_that_is_a_file(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file is a file, expected a folder" in the_sentence(call("rollout", "policy=random", "out=file"))


# Exit codes


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `vla3d info` end in an error."""

    def fail(error: BaseException) -> None:
        def command(words: Sequence[str]) -> None:
            raise error

        monkeypatch.setattr(cli, "load", lambda function: command)

    return fail


def test_user_errors_fit_on_one_line(
    call: Callable[..., tuple[int, str, str]], failing: Callable[[BaseException], None]
) -> None:
    failing(DataError("first\n  second\n"))
    assert the_sentence(call("info")) == "vla3d: first second\n"


def test_ctrl_c_exits_130(call: Callable[..., tuple[int, str, str]], failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    assert call("info")[0] == 130


def test_a_bug_keeps_its_traceback(call: Callable[..., tuple[int, str, str]], failing: Callable[[BaseException], None]) -> None:
    failing(IndexError("ours"))
    with pytest.raises(IndexError, match="ours"):
        call("info")


def test_a_bug_in_a_worker_keeps_its_traceback(
    call: Callable[..., tuple[int, str, str]], failing: Callable[[BaseException], None]
) -> None:
    failing(WorkerError("A worker process failed:\nTraceback (most recent call last):\n  File ...\nIndexError: ours"))
    code, _, err = call("info")
    assert code == 1 and err.endswith("  File ...\nIndexError: ours\n")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free space, or choose a folder elsewhere"),
        (errno.EFBIG, "free space, or choose a folder elsewhere"),
        (errno.EACCES, "allow it to be read, or choose a folder you may read and write"),
        (errno.EROFS, "choose a folder you may write to"),
    ],
)
def test_what_the_system_refuses_is_the_users_to_mend(
    number: int, advice: str, call: Callable[..., tuple[int, str, str]], failing: Callable[[BaseException], None]
) -> None:
    failing(OSError(number, os.strerror(number), "somewhere"))
    assert the_sentence(call("info")) == f"vla3d: {os.strerror(number)}: somewhere; {advice}.\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -u -m vla3d train --help | head -1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr


# Hydra's habits


def test_hydra_leaves_no_folder_and_stays_where_it_is(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = call("train", "--cfg", "job", "--resolve", "steps=7", "seed=3")
    assert code == 0 and "\n  steps: 7\n" in out and "\n  seed: 3\n" in out
    assert Path.cwd() == tmp_path and not list(tmp_path.iterdir())


def test_its_full_error_switch_is_given_back(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    call("train", "nonsense=1")
    assert "HYDRA_FULL_ERROR" not in os.environ


# Information for bug reports


def test_info_tells_versions_and_no_secrets(call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, out, _ = call("info")
    assert code == 0
    for expected in (f"vla3d {__version__}", "python ", "platform ", "processor ", "GPU ", "mujoco-warp", "rerun "):
        assert expected in out
    for secret in ("hf_secret", str(Path.home()), str(Path(__file__).parents[1])):
        assert secret not in out


# Completion


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vla3d ", set(cli.COMMANDS)),
        ("vla3d ro", {"rollout"}),
        ("vla3d train policy=", {f"policy=bridgevla{kind}" for kind in ("", "_nano", "_v1", "_v1_nano")}),
        ("vla3d train trainer.batch", {"trainer.batch_size="}),
        ("vla3d train steps=3 experiment=tabletop3_", {"experiment=tabletop3_long"}),
        ("vla3d collect epi", {"episodes="}),
        ("vla3d evaluate ch", {"checkpoint="}),
        ("vla3d view ca", {"cameras"}),
        ("vla3d view demos epi", {"episode="}),
        ("vla3d view cameras thr", {"threshold_mm="}),
        ("vla3d view cameras folder thr", {"threshold_mm="}),
        ("vla3d convert gem", {"gembench"}),
        ("vla3d convert folder out epi", {"episodes="}),
        ("vla3d convert gembench folder out epi", {"episodes="}),
        ("vla3d convert gembench folder epi", {"episodes="}),
        ("vla3d convert bri", {"bridgevla-checkpoint", "bridgevla-real"}),
        ("vla3d convert bridgevla-checkpoint a.pth tok", {"tokenizer="}),
        ("vla3d convert bridgevla-checkpoint a.pth policy tok", {"tokenizer="}),
        ("vla3d rollout policy=", set()),
        ("vla3d graph open_drawer vi", {"viewpoint="}),
        ("vla3d info ", set()),
    ],
)
def test_completion(
    line: str, expected: set[str], call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = call("-sc", "query=bash")
    assert (code, err) == (0, "")
    assert set(out.split()) == expected


def test_completion_stops_at_the_cursor(call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "vla3d tr policy=x")
    monkeypatch.setenv("COMP_POINT", str(len("vla3d tr")))
    assert call("-sc", "query=bash")[1].split() == ["train"]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion_script(shell: str, call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("-sc", f"install={shell}")
    assert code == 0 and f"-sc query={shell}" in out


def test_completion_in_a_real_bash(tmp_path: Path) -> None:
    program = tmp_path / "vla3d"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vla3d "$@"\n')
    program.chmod(0o755)
    install = completion_script(program)
    ask = 'COMP_LINE="vla3d train exp"; COMP_POINT=15; COMP_WORDS=(vla3d train exp); COMP_CWORD=2; hydra_bash_completion'
    done = subprocess.run(
        ["bash", "-c", f'{install}\n{ask}\necho "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=60,
    )
    assert done.stdout.split() == ["experiment="]


def completion_script(program: Path) -> str:
    return subprocess.run([program, "-sc", "install=bash"], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [("vla3d train a=1 b", "train", "vla3d a=1 b"), ("vla3d train ", "train", "vla3d "), ("vla3d tra", None, None)],
)
def test_the_sub_command_is_taken_out_of_the_line(line: str, name: str | None, rest: str | None) -> None:
    assert completion.sub_command(line) == name
    if rest is not None:
        assert completion.without_sub_command(line) == rest


# Ctrl-C, as a terminal sends it: to every process of the command


@pytest.mark.parametrize(
    "words",
    [["collect", "episodes=50"], ["rollout", "policy=scripted", "episodes=50", "videos=none"]],
    ids=lambda words: words[0],
)
def test_ctrl_c_in_the_middle_of_work(words: Sequence[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vla3d", *words, "tasks=[pick_and_lift]", "image_size=16", "num_workers=1", "out=out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as running:
        assert running.stderr is not None
        seen = ""
        while " 1/50 " not in seen:  # the progress bar after the first episode
            character = running.stderr.read(1)
            assert character, seen
            seen += character
        os.killpg(running.pid, signal.SIGINT)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == 130, seen + rest
    assert "Traceback" not in rest
    assert rest.rstrip().endswith("Interrupted.")


@pytest.mark.parametrize("word", ["policy.zoom=-1", "policy.rotation=6dd", "policy.views=[top,botom]"])
def test_a_policy_that_cannot_be_built_is_refused_before_demos_are_collected(call, word: str, tmp_path: Path) -> None:
    code, _, err = call("train", word)
    assert (code, err.count("\n")) == (2, 1)
    assert not list(tmp_path.rglob("demos"))
