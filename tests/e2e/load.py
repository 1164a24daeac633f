"""Clients without end: load.py crowd CLIENTS SECONDS, or load.py cycles COUNT. Prints what went wrong; status 1 if anything did."""
import asyncio
import collections
import json
import os
import random
import sys
import time

SOCKET = os.path.join(os.environ["BANGER_RUNTIME_DIR"], "bangerd.sock")
LINE_BYTES_MAX = 1 << 24


class Refused(Exception):
    """An error of the daemon's."""

    def __init__(self, error):
        super().__init__(f"{error['data']['kind']}: {error['message']}")
        self.kind = error["data"]["kind"]


class Client:
    """A connection that is kept."""

    def __init__(self):
        self.reader = self.writer = None
        self.number = 0

    async def connect(self):
        self.reader, self.writer = await asyncio.open_unix_connection(SOCKET, limit=LINE_BYTES_MAX)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, method, **params):
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.writer.write(json.dumps(request).encode() + b"\n")
        while True:
            line = await self.reader.readline()
            if not line:
                raise EOFError(f"{method}: the daemon hung up")
            reply = json.loads(line)
            if reply.get("id") == self.number:
                break
        if "error" in reply:
            raise Refused(reply["error"])
        return reply["result"]


async def create(client, name):
    return (await client.ask("vm.create", name=name, start=False))["vm"]["id"]


async def own_vm(client, number):
    """Nobody else knows its name: nothing here may fail."""
    name = f"own-{number}-{random.randrange(1 << 30)}"
    created = await create(client, name)
    shown = await client.ask("vm.show", vm=name)
    if shown["vm"]["id"] != created:
        raise ValueError(f"{name} is {created}, and {shown['vm']['id']} when it is shown")
    if created not in [vm["id"] for vm in (await client.ask("vm.list"))["vms"]]:
        raise ValueError(f"{name} was acknowledged and is not in the list")
    await client.ask("vm.delete", vm=created)
    if created in [vm["id"] for vm in (await client.ask("vm.list"))["vms"]]:
        raise ValueError(f"{name} was deleted and is in the list")


async def same_name(client, wins):
    """All want it: one has it at a time, and the others are told so."""
    try:
        await create(client, "wanted")
    except Refused as refused:
        if refused.kind == "exists":
            return
        raise
    wins.append(1)
    if len(wins) != 1:
        raise ValueError("two clients have made 'wanted'")
    wins.pop()
    await client.ask("vm.delete", vm="wanted")


async def look(client):
    await client.ask(random.choice(["vm.list", "image.list", "kernel.list", "daemon.status", "ping", "daemon.operations.list"]))


async def one_client(number, deadline, wins, seen):
    """Reads most of the time; each step is counted, and what is refused is, too."""
    client = Client()
    await client.connect()
    while time.monotonic() < deadline:
        choice = random.random()
        try:
            if choice < 0.90:
                await look(client)
            elif choice < 0.95:
                await own_vm(client, number)
            else:
                await same_name(client, wins)
            seen["done"] += 1
        except Refused as refused:
            seen["busy" if refused.kind == "busy" else str(refused)] += 1
        except (EOFError, OSError, ValueError) as problem:
            seen[str(problem)] += 1
            return
    await client.close()


async def crowd(clients, seconds):
    seen, wins = collections.Counter(), []
    deadline = time.monotonic() + seconds
    await asyncio.gather(*(one_client(number, deadline, wins, seen) for number in range(clients)))
    return seen


async def cycles(count):
    client = Client()
    await client.connect()
    for number in range(count):
        await client.ask("vm.delete", vm=await create(client, f"cycle-{number}"))
    await client.close()
    return collections.Counter(done=count)


def main():
    if sys.argv[1] == "crowd":
        seen = asyncio.run(crowd(int(sys.argv[2]), int(sys.argv[3])))
    else:
        seen = asyncio.run(cycles(int(sys.argv[2])))
    for what, times in seen.items():
        print(times, what)
    return 0 if seen["done"] > 0 and not seen.keys() - {"done", "busy"} else 1


if __name__ == "__main__":
    sys.exit(main())
