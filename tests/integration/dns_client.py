"""Peers of the .vm server that dig is not: dns_client.py PORT WHAT. Prints what came back."""
import socket
import struct
import sys
import time

PORT, WHAT = int(sys.argv[1]), sys.argv[2]
HERE = ("127.0.0.1", PORT)
HEADER = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0)


def query(name="box.vm", number=7, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1)


def framed(message):
    return struct.pack(">H", len(message)) + message


def connect(timeout=10):
    sock = socket.create_connection(HERE, timeout)
    return sock


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_answer(sock):
    return read_exactly(sock, struct.unpack(">H", read_exactly(sock, 2))[0])


def ends(sock):
    """Whether the server ends the connection, and after how many seconds."""
    began = time.monotonic()
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return round(time.monotonic() - began)


def rcode(answer):
    return answer[3] & 15


def pipelined():
    """A thousand queries before the first answer is read; then the sending side is closed."""
    sock = connect()
    sock.sendall(b"".join(framed(query(number=n)) for n in range(1000)))
    sock.shutdown(socket.SHUT_WR)
    numbers = [struct.unpack(">H", read_answer(sock)[:2])[0] for _ in range(1000)]
    print(numbers == list(range(1000)), ends(sock))


def never_reads():
    """Sends for as long as the server takes it; others must be served meanwhile."""
    sock = connect()
    sock.setblocking(False)
    sent, deadline = 0, time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            sent += sock.send(framed(query()) * 100)
        except BlockingIOError:
            break
    other = connect()
    other.sendall(framed(query()))
    print(sent < 64 << 20, rcode(read_answer(other)))
    sock.settimeout(10)
    other.close()


def byte_by_byte():
    sock = connect()
    for byte in framed(query()):
        sock.sendall(bytes([byte]))
    print(rcode(read_answer(sock)))


def one_byte_a_second():
    """Not idle, and never a whole query."""
    sock = connect()
    began = time.monotonic()
    try:
        for byte in framed(query()):
            sock.sendall(bytes([byte]))
            sock.settimeout(1)
            try:
                if not sock.recv(1):
                    break
            except TimeoutError:
                pass
    except OSError:
        pass
    print(4 <= time.monotonic() - began <= 7)


def idle():
    print(4 <= ends(connect()) <= 7)


def bad_lengths():
    for length in (0, 1, 11, 1233, 65535):
        sock = connect()
        sock.sendall(struct.pack(">H", length) + HEADER[:length])
        print(length, ends(sock))


def crowd():
    """Forty clients: those without a seat wait until others end."""
    socks = [connect() for _ in range(40)]
    for sock in socks:
        sock.sendall(framed(query()))
    served = 0
    for sock in socks[:32]:
        served += rcode(read_answer(sock)) == 0
        sock.close()
    for sock in socks[32:]:
        served += rcode(read_answer(sock)) == 0
    print(served)


def udp(message, timeout=0.5):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    sock.sendto(message, HERE)
    try:
        return sock.recv(65535)
    except TimeoutError:
        return None


def silent():
    """What gets no answer, each followed by a query that does, so that the wait means something."""
    for message in (b"", b"x", HEADER[:11], b"\0\7\x81\0" + query()[4:], query() + b"\0" * 1300):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(10)
        sock.sendto(message, HERE)
        sock.sendto(query(number=99), HERE)
        print(sock.recv(65535)[:2] == b"\0\x63")


def from_port_0():
    """A datagram that nobody could be answered at, made by hand (needs root)."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    message = query()
    raw.sendto(struct.pack(">4H", 0, PORT, 8 + len(message), 0) + message, ("127.0.0.1", 0))
    print(rcode(udp(query(), 10)))


def flood():
    """As many as the loop makes in two seconds, none read; then a query must be answered, and over TCP, too."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    message, deadline = query(), time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            sock.sendto(message, HERE)
        except BlockingIOError:
            pass
    other = connect()
    other.sendall(framed(query()))
    print(rcode(read_answer(other)), rcode(udp(query(), 10)))


globals()[WHAT]()
