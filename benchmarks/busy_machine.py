"""What a busy core costs a training step on all cores, by how OpenMP's threads wait.

    python benchmarks/busy_machine.py [--rounds 3] [--steps 40]

Each reading is a process that trains the tiny base (batches of 32, 64 px) on all cores: as the machine is, and beside a
process that keeps one core busy. OpenMP's threads spin while they wait for one another (the default), spin shortly and
then sleep, or sleep at once; or there is one thread. Settings take turns in each round. The ratio is seconds of the
default to seconds of one thread on the busy machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = {
    "spinning": {},  # the default
    "short spin": {"GOMP_SPINCOUNT": "2000"},
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"P2D_THREADS": "1", "OMP_NUM_THREADS": "1"},
}
BUSY = "while True: pass"


def train(steps: int) -> float:
    """Seconds a step of training the tiny base's denoiser on noise."""
    sys.path.insert(0, str(REPOSITORY))
    import torch

    from p2d_lib.device import set_up
    from p2d_lib.models import tiny_base

    set_up()
    unet = tiny_base.tiny_pipeline(0).unet.train()
    optimizer = torch.optim.AdamW(unet.parameters(), 1e-4)
    source = torch.Generator().manual_seed(0)
    latents, words = torch.randn(32, 8, 16, 16, generator=source), torch.randn(32, 64, 96, generator=source)
    times = torch.randint(1000, (32,), generator=source)
    for step in range(steps + 3):
        if step == 3:  # the first ones allocate
            started = time.perf_counter()
        unet(latents, times, words).sample.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - started) / steps


def measured(setting: dict[str, str], busy: bool, steps: int) -> float:
    """Seconds a step in a process of its own."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY])] if busy else []
    try:
        command = [sys.executable, __file__, "--child", str(steps)]
        output = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True)
        return float(output.stdout)
    finally:
        for process in others:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--child", type=int, metavar="STEPS", help="only train and print the seconds a step")
    options = parser.parse_args()
    if options.child:
        print(train(options.child))
        return
    readings = {(name, busy): [] for name in SETTINGS for busy in (False, True)}
    for _ in range(options.rounds):
        for name, busy in readings:
            readings[name, busy].append(measured(SETTINGS[name], busy, options.steps))
    medians = {key: statistics.median(seconds) for key, seconds in readings.items()}
    for (name, busy), seconds in medians.items():
        print(f"{name:<10}  {'busy' if busy else 'quiet'}  {1000 * seconds:6.0f} ms a step")
    print(f"ratio {medians['spinning', True] / medians['one thread', True]:.2f}")


if __name__ == "__main__":
    main()
