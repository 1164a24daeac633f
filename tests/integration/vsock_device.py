#!/usr/bin/env python3
"""The host's end of a guest's AF_VSOCK, for hosts without /dev/vhost-vsock: a vhost-user device for QEMU.

usage: vsock_device.py VHOST_SOCKET CALL_SOCKET

QEMU connects to VHOST_SOCKET (vhost-user-vsock-device). Whoever connects to CALL_SOCKET and sends "CONNECT PORT\\n" is
connected to that port of the guest, as Firecracker offers it; the guest sees the caller as the host (CID 2).
"""
import mmap
import os
import selectors
import socket
import struct
import sys

GUEST_CID, HOST_CID = 3, 2
RX, TX = 0, 1    # the device's queues, as the guest names them: what it receives, what it sends
REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
PACKET = struct.Struct("<QQIIIHHIII")
ROOM = 1 << 18   # what we let the guest send ahead
CHUNK = 2048     # less than any of the guest's buffers

FEATURES = 1 << 32 | 1 << 30           # VERSION_1, PROTOCOL_FEATURES
PROTOCOL_FEATURES = 1 << 0 | 1 << 9    # MQ, CONFIG
GET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 1, 5, 8, 9, 10
GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 11, 12, 13, 14
GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE, GET_CONFIG = 15, 17, 18, 24
NEXT, WRITE = 1, 2


class Memory:
    """The guest's memory, by the addresses of the guest and by those of QEMU."""

    def __init__(self, table, fds):
        self.regions = []
        count = struct.unpack_from("<I", table)[0]
        for i in range(count):
            guest, size, user, offset = struct.unpack_from("<QQQQ", table, 8 + 32 * i)
            self.regions.append((guest, user, size, offset, mmap.mmap(fds[i], offset + size)))
            os.close(fds[i])

    def view(self, address, size, by_user=False):
        for guest, user, length, offset, memory in self.regions:
            at = address - (user if by_user else guest)
            if 0 <= at and at + size <= length:
                return memoryview(memory)[offset + at:offset + at + size]
        sys.exit(f"{size} bytes at {address:#x} are outside of the guest's memory")


class Queue:
    """A split virtqueue."""

    def __init__(self):
        self.size = self.next = 0
        self.kick = self.call = None
        self.addresses = None

    def take(self, memory):
        """The next chain's head and its buffers as (view, is_writable), or None."""
        if self.addresses is None or self.size == 0:
            return None
        table, _, available = (memory.view(address, length, True) for address, length in
                               zip(self.addresses, (16 * self.size, 4, 4 + 2 * self.size)))
        if struct.unpack_from("<H", available, 2)[0] == self.next:
            return None
        head = index = struct.unpack_from("<H", available, 4 + 2 * (self.next % self.size))[0]
        self.next = (self.next + 1) & 0xffff
        buffers = []
        while True:
            address, size, flags, following = struct.unpack_from("<QIHH", table, 16 * index)
            buffers.append((memory.view(address, size), bool(flags & WRITE)))
            if not flags & NEXT:
                return head, buffers
            index = following

    def give(self, memory, head, written):
        used = memory.view(self.addresses[1], 4 + 8 * self.size, True)
        index = struct.unpack_from("<H", used, 2)[0]
        struct.pack_into("<II", used, 4 + 8 * (index % self.size), head, written)
        struct.pack_into("<H", used, 2, (index + 1) & 0xffff)
        if self.call is not None:
            os.write(self.call, struct.pack("<Q", 1))


class Call:
    """One connection: a socket here, a port there."""

    def __init__(self, stream, port):
        self.stream, self.port = stream, port
        self.sent = self.taken = self.peer_room = self.peer_taken = 0
        self.is_open = self.has_ended = False

    def may_send(self):
        return self.is_open and not self.has_ended and self.peer_room - (self.sent - self.peer_taken & 0xffffffff) >= CHUNK


class Device:
    def __init__(self, control, listener):
        self.control, self.listener = control, listener
        self.memory, self.queues = None, [Queue(), Queue()]
        self.calls, self.pending, self.last_port = {}, [], 1 << 16
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ, self.answer_qemu)
        self.selector.register(listener, selectors.EVENT_READ, self.accept)

    def run(self):
        while True:
            for key, _ in self.selector.select():
                key.data()
            self.flush()
            for call in self.calls.values():
                self.listen_to(call, call.may_send() and not self.pending)

    # --- QEMU ---

    def answer_qemu(self):
        header, fds, _, _ = socket.recv_fds(self.control, 12, 8)
        if not header:
            sys.exit(0)
        request, _, size = struct.unpack("<III", header)
        payload = b""
        while len(payload) < size:
            payload += self.control.recv(size - len(payload))
        answer = self.obey(request, payload, fds)
        if answer is not None:
            self.control.sendall(struct.pack("<III", request, 5, len(answer)) + answer)

    def obey(self, request, payload, fds):
        numbers = {GET_FEATURES: FEATURES, GET_PROTOCOL_FEATURES: PROTOCOL_FEATURES, GET_QUEUE_NUM: len(self.queues)}
        if request in numbers:
            return struct.pack("<Q", numbers[request])
        if request == GET_CONFIG:
            return payload[:12] + struct.pack("<Q", GUEST_CID)[:len(payload) - 12]
        if request == SET_MEM_TABLE:
            self.memory = Memory(payload, fds)
        elif request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
            self.set_descriptor(request, self.queues[payload[0]], fds)
        elif request == SET_VRING_ADDR:
            index, _, *addresses = struct.unpack_from("<IIQQQ", payload)
            self.queues[index].addresses = addresses
        elif request in (SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE):
            index, number = struct.unpack("<II", payload)
            if request == SET_VRING_NUM:
                self.queues[index].size = number
            elif request == SET_VRING_BASE:
                self.queues[index].next = number
            else:
                return struct.pack("<II", index, self.queues[index].next)
        return None

    def set_descriptor(self, request, queue, fds):
        if request == SET_VRING_CALL:
            queue.call = fds[0] if fds else None
        elif request == SET_VRING_KICK and fds:
            queue.kick = fds[0]
            self.selector.register(queue.kick, selectors.EVENT_READ, lambda: self.kicked(queue))

    def kicked(self, queue):
        os.read(queue.kick, 8)
        if queue is not self.queues[TX]:
            return
        while chain := queue.take(self.memory):
            head, buffers = chain
            data = b"".join(bytes(view) for view, is_writable in buffers if not is_writable)
            queue.give(self.memory, head, 0)
            self.from_guest(PACKET.unpack_from(data), data[PACKET.size:])

    # --- packets ---

    def send(self, call, operation, data=b"", flags=0):
        self.pending.append(PACKET.pack(HOST_CID, GUEST_CID, call.local, call.port, len(data), 1, operation, flags,
                                        ROOM, call.taken & 0xffffffff) + data)
        call.sent += len(data)

    def flush(self):
        while self.pending and (chain := self.queues[RX].take(self.memory)):
            head, buffers = chain
            rest = packet = self.pending.pop(0)
            for view, _ in buffers:
                view[:len(rest[:len(view)])] = rest[:len(view)]
                rest = rest[len(view):]
            self.queues[RX].give(self.memory, head, len(packet))

    def from_guest(self, packet, data):
        _, _, _, local, size, _, operation, flags, room, taken = packet
        call = self.calls.get(local)
        if call is None:
            return
        call.peer_room, call.peer_taken = room, taken
        if operation == RESPONSE:
            call.is_open = True
            call.stream.sendall(f"OK {local}\n".encode())
        elif operation == RW:
            call.stream.sendall(data[:size])
            call.taken += size
            self.send(call, CREDIT_UPDATE)
        elif operation == CREDIT_REQUEST:
            self.send(call, CREDIT_UPDATE)
        elif operation == RST or operation == SHUTDOWN and flags == 3:
            if operation == SHUTDOWN:
                self.send(call, RST)
            self.listen_to(call, False)
            call.stream.close()
            del self.calls[local]
        elif operation == SHUTDOWN and flags & 2:
            call.stream.shutdown(socket.SHUT_WR)

    # --- callers ---

    def accept(self):
        stream, _ = self.listener.accept()
        line = b""
        while not line.endswith(b"\n"):
            line += stream.recv(1) or sys.exit("a caller left without CONNECT")
        call = Call(stream, int(line.split()[1]))
        self.last_port += 1
        call.local = self.last_port
        self.calls[call.local] = call
        self.send(call, REQUEST)

    def listen_to(self, call, wanted):
        listens = call.stream in self.selector.get_map()
        if wanted and not listens:
            self.selector.register(call.stream, selectors.EVENT_READ, lambda: self.from_caller(call))
        elif listens and not wanted:
            self.selector.unregister(call.stream)

    def from_caller(self, call):
        if call.local not in self.calls or not call.may_send():
            return
        data = call.stream.recv(CHUNK)
        if data:
            self.send(call, RW, data)
        else:
            call.has_ended = True
            self.send(call, SHUTDOWN, flags=2)


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    return listener


def main():
    vhost, calls = (listen(path) for path in sys.argv[1:])
    control, _ = vhost.accept()
    Device(control, calls).run()


if __name__ == "__main__":
    main()
