"""Launch configurations: accelerate itself takes the shipped ones, and what can not run is refused in words."""

import argparse
import sys

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType

from domains.errors import UserError
from experts.launcher import SHIPPED, Launch, check_can_run, find_launch, launch_names, load_launch, read_settings
from experts.recipe import load_recipe
from ui.cli import main
from ui.launching import worker_arguments

KINDS = {"cpu": "MULTI_CPU", "ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}


def shipped(name, **overrides):
    """A shipped configuration, without a look at this machine."""
    file = find_launch(name)
    return Launch(file, read_settings(file), overrides)


def understood(launch):
    """What accelerate makes of the command line: its own parser and its own checks."""
    command = launch.command(["build", "toy", "--home", "h"])
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    return _validate_launch_command(launch_command_parser().parse_args(command[3:]))[0]


def test_every_shipped_configuration_is_of_its_kind():
    assert launch_names() == tuple(sorted(KINDS))
    assert {name: shipped(name).kind for name in KINDS} == KINDS
    assert {DistributedType(kind) for kind in KINDS.values()}


@pytest.mark.parametrize("name", ["cpu", "ddp", "fsdp2"])
def test_accelerate_starts_the_verb_in_several_processes(name):
    args = understood(shipped(name, num_processes="4"))
    assert (args.num_processes, args.num_machines, args.main_process_port) == (4, 1, 0)
    assert (args.module, args.training_script) == (True, "ui.cli")
    assert args.training_script_args == ["build", "toy", "--home", "h"]
    assert (args.multi_gpu, args.use_fsdp) == (name != "fsdp2", name == "fsdp2")


def test_accelerate_understands_every_setting_of_fsdp2():
    args = understood(shipped("fsdp2", num_processes="4"))
    assert (args.fsdp_version, args.fsdp_auto_wrap_policy) == (2, "TRANSFORMER_BASED_WRAP")
    assert args.fsdp_reshard_after_forward is True
    assert args.fsdp_state_dict_type == "SHARDED_STATE_DICT"
    assert args.mixed_precision == "bf16"


def test_accelerate_understands_every_setting_of_zero3():
    args = understood(shipped("zero3", num_processes="4"))
    assert args.use_deepspeed
    assert (args.zero_stage, args.zero3_save_16bit_model, args.zero3_init_flag) == (3, True, False)
    assert args.deepspeed_multinode_launcher == "standard"


def test_two_hosts_are_told_apart_by_settings():
    given = {"num_machines": "2", "num_processes": "4", "machine_rank": "1", "main_process_ip": "10.0.0.1"}
    args = understood(shipped("ddp", main_process_port="29500", **given))
    assert (args.num_machines, args.machine_rank) == (2, 1)
    assert (args.main_process_ip, args.main_process_port) == ("10.0.0.1", 29500)


def test_processes_on_a_cpu_know_it():
    assert shipped("cpu").environment()["ACCELERATE_USE_CPU"] == "true"
    assert shipped("cpu").num_processes() == 2


def written(tmp_path, **settings):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings))
    return str(file)


def test_a_file_of_the_user_is_taken(tmp_path):
    file = written(tmp_path, distributed_type="MULTI_CPU", num_processes=3, use_cpu=True)
    assert load_launch(file, ["num_processes=5"]).num_processes() == 5
    assert load_launch(file).num_processes() == 3


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("fsdp", [], "Did you mean 'fsdp2'"),
        ("cpu", ["num_procesess=2"], "Did you mean 'num_processes'"),
        ("cpu", ["num_processes"], "takes KEY=VALUE"),
        ("fsdp2", [], "needs a GPU"),
        ("zero3", [], "needs a GPU"),
    ],
)
def test_what_can_not_be_is_refused(name, overrides, message):
    with pytest.raises(UserError, match=message):
        load_launch(name, overrides)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distributed_type": "MULTI_CPU", "num_proceses": 2}, "no configuration of accelerate.*num_proceses"),
        ({"num_processes": 2}, "no configuration of accelerate"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_reshard": True}}, "fsdp_reshard"),
        ({"distributed_type": "SOMETHING"}, "no configuration of accelerate"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        read_settings(find_launch(written(tmp_path, **settings)))


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="no table"):
        read_settings(tmp_path / "list.yaml")


def test_the_first_fsdp_is_refused(tmp_path, monkeypatch):
    file = find_launch(written(tmp_path, distributed_type="FSDP", fsdp_config={"fsdp_version": 1}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(UserError, match="fsdp_version: 2"):
        check_can_run(Launch(file, read_settings(file), {}))


def test_the_verb_is_passed_on_without_the_launch():
    given = ["toy", "--home", "h", "--recipe", "tiny", "--seed", "3", "--set", "sft.epochs=1", "--json"]
    from ui.cli import parser

    passed = worker_arguments(parser().parse_args(["build", *given, "--launch", "cpu", "--launch-set", "a=1"]))
    assert vars(parser().parse_args(passed)) == vars(parser().parse_args(["build", *given]))
    assert isinstance(parser().parse_args(passed), argparse.Namespace)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launch", "cpuu"], "Did you mean 'cpu'"),
        (["--launch", "cpu", "--jobs", "2"], "do not go together"),
        (["--launch", "cpu", "--set", "align.objective=dpoo"], "Did you mean 'dpo'"),
    ],
)
def test_the_command_says_so_before_any_process_starts(arguments, message, capsys, tmp_path):
    assert main(["build", "mortgage", "--home", str(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_shipped_files_are_all_configurations():
    assert {path.stem for path in SHIPPED.iterdir()} == set(KINDS)


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-0.5b", "llama-3.1-8b"])
def test_recipes_of_the_hub_are_at_commits(name):
    given = load_recipe(name).foundation
    for revision in (given.base_revision, given.instruct_revision):
        assert len(revision or "") == 40
        assert int(revision, 16) > 0


@pytest.mark.parametrize(
    ("section", "message"),
    [("pretrain", "needs a CUDA device"), ("align", "needs a CUDA device"), ("reward_model", "takes lora alone")],
)
def test_quantised_training_needs_cuda(section, message, tmp_path, capsys):
    arguments = ["--recipe", "tiny", "--set", f"{section}.method=qlora", "--home", str(tmp_path)]
    assert main(["build", "mortgage", *arguments]) == 1
    assert message in capsys.readouterr().err
