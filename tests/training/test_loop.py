"""The loop: the same run whatever splits or interrupts it."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from support.small_training import SCRIPT, TENTH_OF_A_STEP, SmallStage, read_log, run

from lavie.errors import LavieError, UsageError
from lavie.training import run_state
from lavie.training.loop import LoopSettings
from lavie.training.optimizers import learning_rate

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")


class Losses(dict):
    """The terms of every step, by the number of steps done."""

    def __call__(self, step, terms):
        self[step] = {name: value.item() for name, value in terms.items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "muon"}, {"mixed_precision": "bf16"}, {"ema_decay": 0}], ids=str)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_last_bit(tmp_path, changes):
    whole, parts = Losses(), Losses()
    uninterrupted = run(tmp_path / "whole", on_step=whole, steps=5, **changes)
    stopped = run(tmp_path / "parts", on_step=stop_at(2, parts), steps=5, **changes)
    assert (stopped.stopped, stopped.steps, stopped.signal) == (True, 2, signal.SIGTERM)
    torch.rand(3)
    resumed = run(tmp_path / "parts", SmallStage(), on_step=parts, steps=5, **changes)
    assert (resumed.stopped, resumed.steps) == (False, 5)
    assert whole == parts
    assert equal(uninterrupted.model.state_dict(), resumed.model.state_dict())
    logs = [read_log(tmp_path / name) for name in ("whole", "parts")]
    timing = ("seconds", "samples_per_second")
    without_time = [[{k: v for k, v in line.items() if k not in timing} for line in lines] for lines in logs]
    assert without_time[0] == without_time[1]


def stop_at(step, losses):
    def on_step(done, terms):
        losses(done, terms)
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path, optimizer):
    results, losses = [], []
    for micro_batch in (0, 2, 1):
        stage, seen = SmallStage(), Losses()
        results.append(
            run(tmp_path / str(micro_batch), stage, on_step=seen, micro_batch=micro_batch, optimizer=optimizer)
        )
        assert stage.seen == list(range(16))
        losses.append(seen)
    for other, seen in zip(results[1:], losses[1:], strict=True):
        for step, terms in seen.items():
            assert terms == pytest.approx(losses[0][step], rel=1e-4)
        for name, weight in results[0].model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], weight, atol=TENTH_OF_A_STEP, rtol=0, msg=name)


def test_the_result_has_the_average_of_the_weights_over_time(tmp_path):
    weights = []
    stage = SmallStage()
    result = run(
        tmp_path, stage, on_step=lambda *_: weights.append(stage.model.conv_in.weight.detach().clone()), steps=6
    )
    expected = weights[0]
    for done, weight in enumerate(weights[1:], start=1):
        decay = min(0.999, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(result.model.conv_in.weight, expected, atol=1e-7, rtol=1e-5)
    assert not torch.equal(expected, weights[-1])


def test_only_what_learns_changes(tmp_path):
    before = {name: value.clone() for name, value in SmallStage().model.state_dict().items()}
    after = run(tmp_path, SmallStage("temporal"), optimizer="muon").model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("_temp" in name for name in changed)


def test_a_lora_learns_and_resumes(tmp_path):
    result = run(tmp_path, SmallStage("spatial-lora"), steps=2)
    again = run(tmp_path, SmallStage("spatial-lora"), steps=2)
    assert again.steps == 2
    assert equal(result.model.state_dict(), again.model.state_dict())


def test_recomputed_blocks_and_workers_change_nothing(tmp_path):
    plain = run(tmp_path / "plain", steps=2)
    recomputed = run(tmp_path / "recomputed", steps=2, gradient_checkpointing=True)
    read_ahead = run(tmp_path / "workers", steps=2, workers=1)
    assert equal(plain.model.state_dict(), read_ahead.model.state_dict())
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(recomputed.model.state_dict()[name], weight, atol=1e-6, rtol=1e-5, msg=name)


def test_the_loss_falls(tmp_path):
    losses = Losses()
    run(tmp_path, on_step=losses, steps=40, batch_size=2, log_every=0, warmup=5, learning_rate=3e-3)
    first, last = ([losses[step]["total"] for step in steps] for steps in (range(1, 6), range(36, 41)))
    assert sum(last) < 0.9 * sum(first)


def test_a_half_written_checkpoint_is_ignored_and_old_ones_go(tmp_path):
    run(tmp_path, steps=4, save_every=1, keep=2)
    assert [path.name for path in run_state.checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-4"]
    (tmp_path / "checkpoint-9.partial").mkdir()
    (tmp_path / "checkpoint-8").mkdir()
    (tmp_path / "checkpoint-8" / "model.safetensors").write_bytes(b"half")
    losses = Losses()
    result = run(tmp_path, on_step=losses, steps=5)
    assert list(losses) == [5]
    assert result.steps == 5
    assert not (tmp_path / "checkpoint-9.partial").exists()


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path, steps=1)
    (tmp_path / "checkpoint-1" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(LavieError, match="checkpoint-1 does not fit"):
        run(tmp_path, steps=2)


def test_lines_of_the_log_that_the_checkpoint_does_not_know_are_written_anew(tmp_path):
    run(tmp_path, steps=3)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "total": 9.0}) + '\n{"step": 5, "to')
    run(tmp_path, steps=4)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4]
    assert read_log(tmp_path)[-1]["total"] != 9.0


def test_the_log_has_averages_of_every_part_and_the_speed(tmp_path):
    losses = Losses()
    run(tmp_path, on_step=losses, steps=4, log_every=2)
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4]
    for name in ("total", "video", "image", "gradient_norm"):
        assert lines[0][name] == pytest.approx((losses[1][name] + losses[2][name]) / 2, rel=1e-5)
    assert lines[0]["total"] == pytest.approx(lines[0]["video"] + 0.5 * lines[0]["image"], rel=1e-5)
    assert lines[1]["seconds"] > lines[0]["seconds"] > 0
    assert lines[0]["samples_per_second"] > 0
    assert lines[1]["learning_rate"] < lines[0]["learning_rate"] <= 1e-3


def test_tensorboard_gets_losses_and_samples_of_the_averaged_weights(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain = run(tmp_path / "plain", steps=4)
    result = run(tmp_path / "sampled", steps=4, sample_every=2)
    assert equal(plain.model.state_dict(), result.model.state_dict())
    events = EventAccumulator(str(tmp_path / "sampled" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/total")] == [1, 2, 3, 4]
    images = events.Images("samples/a clip")
    assert [(event.step, event.width, event.height) for event in images] == [(2, 48, 4), (4, 48, 4)]


def test_without_tensorboard_the_run_says_so_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run(tmp_path, steps=2, sample_every=1)
    assert [record.message for record in caplog.records if "TensorBoard" in record.message] == [
        'TensorBoard is not installed, so only log.jsonl is written (pip install "tensorboard").'
    ]


def test_files_that_cannot_be_read_are_named_once_and_counted(tmp_path, caplog):
    broken = (1, 5, 6)
    result = run(tmp_path, broken=broken, steps=8)
    names = {f"clips-{row}.mp4" for row in broken}
    assert {entry["name"] for entry in result.skipped} == names
    assert {entry["reason"] for entry in result.skipped} == {"it is damaged."}
    run(tmp_path, broken=broken, steps=12)
    assert len((tmp_path / "skipped.jsonl").read_text().splitlines()) == len(names)
    assert sum("Skipped clips-5.mp4: it is damaged." in record.message for record in caplog.records) == 1


def test_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(tmp_path):
    with pytest.raises(LavieError, match=r"no longer a number at step 3.*lower --learning-rate"):
        run(tmp_path, SmallStage(spoil_after=2), steps=6, save_every=1)
    assert run_state.checkpoints(tmp_path)[-1].name == "checkpoint-2"


def test_a_run_keeps_what_decides_its_examples_and_names_what_else_changed(tmp_path, caplog):
    run(tmp_path, steps=1, recorded={"frames": [16]})
    with pytest.raises(UsageError, match="seed 0, now 1"):
        run(tmp_path, steps=2, seed=1, recorded={"frames": [16]})
    with pytest.raises(UsageError, match=r"frames \[16\], now \[8\]"):
        run(tmp_path, steps=2, recorded={"frames": [8]})
    with caplog.at_level(logging.WARNING):
        run(tmp_path, steps=2, learning_rate=5e-4, recorded={"frames": [16]})
    assert "learning_rate 0.0005, before 0.001" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd"}, {"schedule": "linear"}, {"mixed_precision": "fp8"}, {"steps": -1}, {"ema_decay": 1.0}],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(changes):
    with pytest.raises(UsageError):
        LoopSettings(**{"steps": 1, "batch_size": 1, **changes})


def test_impossible_combinations_are_refused_before_the_first_step(tmp_path):
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        run(tmp_path, mixed_precision="fp16")
    with pytest.raises(UsageError, match="at least one step"):
        run(tmp_path, steps=0)
    with pytest.raises(UsageError, match="micro-batches"):
        run(tmp_path, micro_batch=3)
    stage = SmallStage()
    stage.model.requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        run(tmp_path, stage)


def test_the_learning_rate_warms_up_and_falls_to_two_percent():
    settings = LoopSettings(steps=100, batch_size=1, learning_rate=1.0, warmup=10)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
    constant = LoopSettings(steps=100, batch_size=1, learning_rate=1.0, warmup=10, schedule="constant")
    assert learning_rate(99, constant) == 1.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_from_outside_saves_and_the_run_goes_on(tmp_path, number):
    options = json.dumps({"run": {"steps": 500, "pause": 0.02}})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path), options], stdout=subprocess.PIPE, text=True, env=environment
    )
    for line in process.stdout:
        if line.startswith("step 2"):
            process.send_signal(number)
            break
    process.communicate(timeout=300)
    assert process.returncode == 128 + number
    (checkpoint,) = run_state.checkpoints(tmp_path / "run")
    done = int(checkpoint.name.split("-")[1])
    assert 2 <= done < 500
    assert read_log(tmp_path / "run")[-1]["step"] == done
    losses = Losses()
    run(tmp_path / "run", on_step=losses, steps=done + 1)
    assert list(losses) == [done + 1]


def test_two_runs_never_share_a_folder_and_the_second_says_who_trains_there(tmp_path):
    said = []

    def second(step, terms):
        if step == 1:
            thread = threading.Thread(target=lambda: said.append(refusal_of(tmp_path)))
            thread.start()
            thread.join()

    run(tmp_path, steps=2, on_step=second)
    assert f"This process is writing the run in {tmp_path} already. Wait until that is done, or name another" in said[0]
    assert not list(tmp_path.glob(".lavie-*"))


def refusal_of(folder):
    with pytest.raises(LavieError) as refused:
        run(folder, steps=2)
    return str(refused.value)


def test_a_run_killed_in_the_middle_of_a_line_goes_on(tmp_path):
    run(tmp_path, steps=1, broken=(0, 1, 2, 3, 4, 5, 6, 7))
    before = (tmp_path / "skipped.jsonl").read_text()
    assert before
    for name in ("skipped.jsonl", "log.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"name": "half')
    result = run(tmp_path, steps=2)
    assert result.steps == 2
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]
    assert {entry["name"] for entry in result.skipped} >= {json.loads(line)["name"] for line in before.splitlines()}
