"""Every check, asked of the real thing: of processes, servers, files that ffmpeg writes, windows."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import imageio_ffmpeg

from streamsd.core.report import Report, write_report
from streamsd.core.unit import (
    Check,
    CommandOk,
    FfmpegProgress,
    FileExists,
    FileGrows,
    HttpOk,
    NoComplaint,
    ProcessAlive,
    Reports,
    SocketAnswers,
    TcpPort,
    UnixSocket,
    XAnswers,
)
from streamsd.runtime.probes import Answer, Asker, asker, read_progress
from tests.contract.run_unit import freeze, until

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


async def ask(check: Check, pid: int = 0, timeout: float = 30.0, **env: str) -> Answer:
    return await asker(check, env=env).ask(pid, timeout)


@asynccontextmanager
async def program(*argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def encoder(directory: Path, source: Sequence[str]) -> tuple[str, ...]:
    progress = ("-progress", f"file:{directory / 'progress'}", "-stats_period", "0.1")
    return (FFMPEG, "-nostdin", "-loglevel", "error", *progress, "-re", *source, "-y", str(directory / "out.ts"))


VIDEO = ("-f", "lavfi", "-i", "testsrc=size=128x96:rate=25", "-c:v", "mpeg2video")
SOUND = ("-f", "lavfi", "-i", "sine", "-c:a", "mp2")


async def becomes(question: Asker, pid: int, wanted: bool) -> Answer:
    answers: list[Answer] = []

    async def holds() -> bool:
        answers.append(await question.ask(pid, 30))
        return answers[-1].ok is wanted

    await until(holds)
    return answers[-1]


async def test_a_process_lives_until_it_ends_and_a_zombie_does_not() -> None:
    async with program("sleep", "600") as sleeper:
        assert (await ask(ProcessAlive(), sleeper.pid)).ok
        young = await ask(ProcessAlive(3600), sleeper.pid)
        assert not young.ok
        assert "of 3600s" in young.message
    assert not (await ask(ProcessAlive(), sleeper.pid)).ok
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        await becomes(asker(ProcessAlive(), env={}), child, False)
    finally:
        os.waitpid(child, 0)


async def test_frames_advance_stand_still_when_frozen_and_go_on(tmp_path: Path) -> None:
    """An ffmpeg that is stopped lives on, and its progress does not: running is not healthy."""
    async with program(*encoder(tmp_path, VIDEO)) as ffmpeg:
        question = asker(FfmpegProgress(tmp_path / "progress"), env={})
        first = await becomes(question, ffmpeg.pid, True)
        assert isinstance(first.observed["frame"], int)
        assert first.observed["drop_frames"] == 0
        await freeze(ffmpeg.pid)
        frozen = await becomes(question, ffmpeg.pid, False)
        assert "no new frame" in frozen.message
        assert (await ask(ProcessAlive(), ffmpeg.pid)).ok
        # a new question of a new process does not take the old one's frames for its own
        async with program("sleep", "600") as other:
            os.utime(tmp_path / "progress", (time.time() - 60, time.time() - 60))
            assert not (await ask(FfmpegProgress(tmp_path / "progress"), other.pid)).ok
        ffmpeg.send_signal(18)
        await becomes(question, ffmpeg.pid, True)


async def test_sound_alone_advances_by_its_time(tmp_path: Path) -> None:
    async with program(*encoder(tmp_path, SOUND)) as ffmpeg:
        question = asker(FfmpegProgress(tmp_path / "progress"), env={})
        await becomes(question, ffmpeg.pid, True)

        async def second() -> bool:
            progress = read_progress(tmp_path / "progress")
            return progress is not None and (progress.out_time_us or 0) > 500_000

        await until(second)
        progress = read_progress(tmp_path / "progress")
        assert progress is not None
        assert progress.frame is None
        assert (await question.ask(ffmpeg.pid, 30)).ok


async def test_a_progress_file_gives_its_disk_back_and_ffmpeg_writes_on(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    async with program(*encoder(tmp_path, VIDEO)) as ffmpeg:
        question = asker(FfmpegProgress(path), env={})
        await becomes(question, ffmpeg.pid, True)
        await freeze(ffmpeg.pid)
        block = path.read_bytes()
        with path.open("ab") as file:  # as an ffmpeg leaves it that has run for days
            file.write(block * (3 * (1 << 20) // len(block)))
        size = path.stat().st_size
        before = path.stat().st_blocks * 512
        assert before > 2 << 20
        await question.ask(ffmpeg.pid, 30)
        assert path.stat().st_blocks * 512 < 1 << 20
        assert path.stat().st_size == size
        assert read_progress(path) is not None


async def test_files_exist_and_grow(tmp_path: Path) -> None:
    mine = os.getpid()
    pattern = str(tmp_path / "**" / "seg-*.ts")
    question = asker(FileGrows(pattern), env={})
    assert not (await question.ask(mine, 30)).ok
    (tmp_path / "deep").mkdir()
    first, second = tmp_path / "seg-1.ts", tmp_path / "deep" / "seg-2.ts"
    first.touch()
    assert not (await question.ask(mine, 30)).ok
    assert not (await ask(FileExists(first))).ok
    first.write_bytes(b"x")
    assert (await ask(FileExists(first))).ok
    assert (await question.ask(mine, 30)).ok
    still = await becomes(question, mine, False)
    assert "has not grown" in still.message
    second.write_bytes(b"xy")
    os.utime(first, (1, 1))
    grown = await question.ask(mine, 30)
    assert grown.ok
    assert grown.observed == {"file": str(second), "size_bytes": 2}
    assert not (await ask(FileExists(tmp_path / "none"))).ok


async def test_a_complaint_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "complaint"
    assert (await ask(NoComplaint(path))).ok
    path.write_text("it has drawn no frame for 30 s\nand more")
    answer = await ask(NoComplaint(path))
    assert (answer.ok, answer.message) == (False, "it has drawn no frame for 30 s")


async def test_a_report_is_believed_while_its_beat_moves_on(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    question = asker(Reports(path), env={})
    assert not (await question.ask(os.getpid(), 30)).ok
    write_report(path, Report(ready=False, beat=1, message="waits for its broker"))
    assert (await question.ask(os.getpid(), 30)).message == "waits for its broker"
    write_report(path, Report(ready=True, beat=2, observed={"rows": 7}))
    said = await question.ask(os.getpid(), 30)
    assert said.ok
    assert said.observed == {"rows": 7}
    still = await becomes(question, os.getpid(), False)
    assert "beat stands still" in still.message
    write_report(path, Report(ready=True, beat=3))
    assert (await question.ask(os.getpid(), 30)).ok
    path.write_text("{")
    assert not (await question.ask(os.getpid(), 30)).ok


async def test_ports_and_sockets_accept_or_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert (await ask(TcpPort("127.0.0.1", port))).ok
    refused = await ask(TcpPort("127.0.0.1", port))
    assert not refused.ok
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not (await ask(UnixSocket(path))).ok
        listener.listen(0)
        question = UnixSocket(path)
        assert (await ask(question)).ok
        # nobody takes the connections: the backlog is full, and that is a no
        await until(lambda: _refuses(question))
    assert not (await ask(UnixSocket(tmp_path / "none"))).ok


async def _refuses(question: UnixSocket) -> bool:
    return not (await ask(question)).ok


async def test_a_socket_answers_what_it_is_asked(tmp_path: Path) -> None:
    path, hung = tmp_path / "s", []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        for word in (b"you ", b"said ", asked):
            writer.write(word)
            await writer.drain()
        if asked == b"hang\n":
            hung.append(writer)  # from Python 3.13 on one that nobody holds is closed
        else:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        assert (await ask(SocketAnswers(path, "ping\n", "said ping"))).ok
        assert not (await ask(SocketAnswers(path, "ping\n", "said pong"))).ok
        assert "no answer" in (await ask(SocketAnswers(path, "hang\n", "pong"), timeout=0.3)).message
    finally:
        for writer in hung:
            writer.close()
        server.close()


async def test_http_answers(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        path = request.split()[1].decode().removeprefix("/")
        if path.isdigit():
            writer.write(f"HTTP/1.1 {path} x\r\nContent-Length: 0\r\n\r\n".encode())
        elif path == "hang":
            await asyncio.sleep(3600)
        else:
            writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    local = await asyncio.start_unix_server(serve, tmp_path / "s")
    port = server.sockets[0].getsockname()[1]
    try:
        for status, ok in ((200, True), (302, True), (404, False), (500, False)):
            answer = await ask(HttpOk(f"http://127.0.0.1:{port}/{status}"))
            assert (answer.ok, answer.observed) == (ok, {"http_status": status})
        assert "not in HTTP" in (await ask(HttpOk(f"http://127.0.0.1:{port}/x"))).message
        assert "no answer" in (await ask(HttpOk(f"http://127.0.0.1:{port}/hang"), timeout=0.2)).message
        assert (await ask(HttpOk("http://nowhere.invalid/200", tmp_path / "s"))).ok
    finally:
        server.close()
        local.close()


async def test_commands_have_the_environment_and_leave_nothing_behind(tmp_path: Path) -> None:
    python = (sys.executable, "-c")
    assert (await ask(CommandOk((*python, "import os; assert os.environ['A'] == 'b'")), A="b")).ok
    assert (await ask(CommandOk((*python, "raise SystemExit(3)")))).message.endswith("exits 3")
    assert not (await ask(CommandOk((str(tmp_path / "none"),)))).ok
    pids = tmp_path / "pids"
    slow = f"import os, time; child = os.fork(); open({str(pids)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"

    async def both() -> bool:
        """On a slow host the time may be over before both have written: then it is asked again."""
        pids.unlink(missing_ok=True)
        assert not (await ask(CommandOk((*python, slow)), timeout=1.0)).ok
        return pids.exists() and len(pids.read_text().split()) == 2

    await until(both)
    for pid in pids.read_text().split():
        await becomes(asker(ProcessAlive(), env={}), int(pid), False)


async def test_no_answer_of_an_x_server_is_a_no(tmp_path: Path) -> None:
    answer = await ask(XAnswers("host:1", tmp_path / "a"))
    assert not answer.ok
    (tmp_path / "a").write_bytes(b"\0\0\xff\xff")
    assert "not an Xauthority file" in (await ask(XAnswers(":59999", tmp_path / "a"))).message
    (tmp_path / "a").write_bytes(b"")
    assert not (await ask(XAnswers(":59999", tmp_path / "a"))).ok
