"""What a person sees while work goes on."""

import io

from rich.console import Console

from beastack.cli.progress import LiveProgress, PlainProgress


def test_plain_lines_tell_wait_duration_and_failure() -> None:
    out = io.StringIO()
    with PlainProgress(Console(file=out, soft_wrap=True)) as progress:
        progress.start("rabbitmq")
        progress.waiting("rabbitmq", "AMQP on 100.64.0.1:5672")
        progress.done("rabbitmq", 5.25, "pid 7")
        progress.failed("nova-api", "[log] it died")
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert "waiting for AMQP on 100.64.0.1:5672" in lines[1]
    assert "done in 5.2 s, pid 7" in lines[2]
    assert "FAILED: [log] it died" in lines[3]


def test_the_live_view_shows_only_what_runs() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100)
    progress = LiveProgress(console)
    progress.start("keystone")
    progress.start("glance", "keystone")
    progress.done("keystone", 1.0)
    console.print(progress.render())
    last = out.getvalue().splitlines()[-1]
    assert "glance" in last
    assert "keystone" in out.getvalue().splitlines()[0]
