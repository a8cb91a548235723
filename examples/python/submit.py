#!/usr/bin/env python3
"""Runs the pipeline of a folder, follows its log, and exits with 0 when the run succeeded, else 1.

    MILLRACE_ADDRESS=127.0.0.1:7070 MILLRACE_TOKEN=... python3 submit.py examples/shop

Needs grpcio and grpcio-tools (Debian: python3-grpcio, python3-grpc-tools). The stubs are generated from proto/ anew
each time; a program of yours would keep them.
"""
import importlib, io, os, pathlib, sys, tarfile, tempfile
import grpc, grpc_tools
from grpc_tools import protoc

PROTO = pathlib.Path(os.environ.get("MILLRACE_PROTO") or pathlib.Path(__file__).resolve().parents[2] / "proto")
FILES = ["build/bazel/remote/execution/v2/remote_execution", "google/rpc/status",
         "millrace/v1/event", "millrace/v1/log", "millrace/v1/run"]

def generate(out):
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    flags = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *flags, *(f"{name}.proto" for name in FILES)]) != 0:
        sys.exit("protoc failed")
    (pathlib.Path(out) / "build/__init__.py").touch()  # else an installed package `build` would hide ours
    sys.path.insert(0, out)
    names = ("event_pb2", "run_pb2", "run_pb2_grpc", "log_pb2", "log_pb2_grpc")
    return (importlib.import_module(f"millrace.v1.{name}") for name in names)

def archive(folder):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for child in sorted(pathlib.Path(folder).iterdir()):
            if child.name != ".git":
                tar.add(child, arcname=child.name)
    return data.getvalue()

def main(folder):
    with tempfile.TemporaryDirectory() as out:
        event_pb2, run_pb2, run_grpc, log_pb2, log_grpc = generate(out)
    token = [("authorization", f"Bearer {os.environ['MILLRACE_TOKEN']}")]

    def upload(tar, chunk=1024 * 1024):
        part = run_pb2.SubmitRunArchiveRequest
        yield part(start=run_pb2.RunRequest())
        for offset in range(0, len(tar), chunk):
            yield part(chunk=tar[offset : offset + chunk])
        yield part(finish=run_pb2.ArchiveEnd(total_bytes=len(tar)))  # without it nothing starts

    with grpc.insecure_channel(os.environ.get("MILLRACE_ADDRESS", "127.0.0.1:7070")) as channel:
        runs, logs = run_grpc.RunServiceStub(channel), log_grpc.LogServiceStub(channel)
        run = runs.SubmitRunArchive(upload(archive(folder)), metadata=token).run
        for part in logs.ReadLog(log_pb2.ReadLogRequest(run=run, follow=True), metadata=token):
            sys.stdout.buffer.write(part.data)
            sys.stdout.buffer.flush()
        status = runs.GetRun(run_pb2.GetRunRequest(run=run), metadata=token).run.status
        print(f"{run}: {event_pb2.RunStatus.Name(status)}")
        return 0 if status == event_pb2.RUN_STATUS_SUCCEEDED else 1

if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
