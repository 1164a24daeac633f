#!/usr/bin/python3
"""Frames that a guest may not send, and who sees them.

    net_frames.py send INTERFACE OWN_MAC OWN_IP OTHER_MAC OTHER_IP BRIDGE_IP
        sends one of each kind with its name in it, then "honest", which is in order
    net_frames.py see INTERFACE LAST_KIND
        prints "ready", then the name of each kind that arrives, up to LAST_KIND or for ten seconds
    net_frames.py say INTERFACE KIND MAC
        sends "KIND" to a MAC address, from whatever the interface has
"""

import re
import socket
import struct
import sys
import time

MARK = b"banger-frame:%s;"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip(text):
    return socket.inet_aton(text)


def frame(destination, source, ether_type, payload):
    return mac(destination) + mac(source) + struct.pack("!H", ether_type) + payload


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(kind, source, destination, ports=(1000, 2000)):
    payload = MARK % kind.encode()
    payload += b" " * (len(payload) % 2)
    body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, ip(source), ip(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def arp(kind, operation, sender_mac, sender_ip, target_mac, target_ip, hardware=1):
    return struct.pack("!HHBBH6s4s6s4s", hardware, 0x0800, 6, 4, operation, mac(sender_mac), ip(sender_ip),
                       mac(target_mac), ip(target_ip)) + MARK % kind.encode()


def ipv6(kind, next_header, body):
    data = body + MARK % kind.encode()
    return struct.pack("!IHBB", 6 << 28, len(data), next_header, 255) + socket.inet_pton(
        socket.AF_INET6, "fe80::2") + socket.inet_pton(socket.AF_INET6, "ff02::1") + data


def kinds(own_mac, own_ip, other_mac, other_ip, bridge_ip):
    """Each frame by the name that it carries."""
    host = BROADCAST
    lldp = "01:80:c2:00:00:0e"
    return {
        "other-mac": frame(host, other_mac, 0x0800, udp("other-mac", own_ip, bridge_ip)),
        "other-ip": frame(host, own_mac, 0x0800, udp("other-ip", other_ip, bridge_ip)),
        "other-both": frame(host, other_mac, 0x0800, udp("other-both", other_ip, bridge_ip)),
        "host-ip": frame(host, own_mac, 0x0800, udp("host-ip", bridge_ip, bridge_ip)),
        "loopback-ip": frame(host, own_mac, 0x0800, udp("loopback-ip", "127.0.0.1", bridge_ip)),
        "no-ip": frame(host, own_mac, 0x0800, udp("no-ip", "0.0.0.0", "255.255.255.255", (68, 67))),
        "dhcp-server": frame(host, own_mac, 0x0800, udp("dhcp-server", other_ip, "255.255.255.255", (67, 68))),
        "to-other": frame(other_mac, other_mac, 0x0800, udp("to-other", other_ip, other_ip)),
        "arp-other-ip": frame(host, own_mac, 0x0806, arp("arp-other-ip", 2, own_mac, other_ip, BROADCAST, bridge_ip)),
        "arp-host-ip": frame(host, own_mac, 0x0806, arp("arp-host-ip", 2, own_mac, bridge_ip, BROADCAST, bridge_ip)),
        "arp-other-mac": frame(host, own_mac, 0x0806, arp("arp-other-mac", 2, other_mac, own_ip, BROADCAST, bridge_ip)),
        "arp-from-mac": frame(host, other_mac, 0x0806, arp("arp-from-mac", 2, own_mac, own_ip, BROADCAST, bridge_ip)),
        "arp-about-other": frame(host, own_mac, 0x0806, arp("arp-about-other", 1, own_mac, own_ip, BROADCAST, other_ip)),
        "arp-odd": frame(host, own_mac, 0x0806, arp("arp-odd", 2, own_mac, own_ip, BROADCAST, bridge_ip, 6)),
        "rarp": frame(host, own_mac, 0x8035, arp("rarp", 3, own_mac, own_ip, BROADCAST, bridge_ip)),
        "ipv6": frame(host, own_mac, 0x86DD, ipv6("ipv6", 59, b"")),
        "router-advertisement": frame("33:33:00:00:00:01", own_mac, 0x86DD,
                                      ipv6("router-advertisement", 58, struct.pack("!BBHIII", 134, 0, 0, 64 << 24, 0, 0))),
        "neighbour": frame("33:33:00:00:00:01", own_mac, 0x86DD,
                           ipv6("neighbour", 58, struct.pack("!BBHI16s", 136, 0, 0, 0xA0000000, b"\xfe\x80" + bytes(14)))),
        "vlan": frame(host, own_mac, 0x8100, struct.pack("!HH", 5, 0x0800) + udp("vlan", own_ip, bridge_ip)),
        "vlan-0": frame(host, own_mac, 0x8100, struct.pack("!HH", 0, 0x0800) + udp("vlan-0", own_ip, bridge_ip)),
        "vlan-twice": frame(host, own_mac, 0x88A8, struct.pack("!HHHH", 5, 0x8100, 6, 0x0800) +
                            udp("vlan-twice", own_ip, bridge_ip)),
        "lldp": frame(lldp, own_mac, 0x88CC, MARK % b"lldp"),
        "lacp": frame("01:80:c2:00:00:02", own_mac, 0x8809, MARK % b"lacp"),
        "bridge-group": frame("01:80:c2:00:00:00", own_mac, 0x0027, MARK % b"bridge-group"),
        "unknown": frame(host, own_mac, 0x88B5, MARK % b"unknown"),
        # The last one is in order.
        "honest": frame(host, own_mac, 0x0800, udp("honest", own_ip, bridge_ip)),
    }


def send(interface, *addresses):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        for data in kinds(*addresses).values():
            sock.send(data.ljust(60, b"\0"))


def see(interface, last):
    deadline = time.monotonic() + 10
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind((interface, 3))
        print("ready", flush=True)
        while time.monotonic() < deadline:
            sock.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                data, address = sock.recvfrom(65536)
            except TimeoutError:
                break
            found = re.search(rb"banger-frame:([a-z0-9-]+);", data)
            if not found or address[2] == socket.PACKET_OUTGOING:
                continue
            print(found.group(1).decode(), flush=True)
            if found.group(1).decode() == last:
                return
    print("nothing more came")


def say(interface, kind, destination):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        own = sock.getsockname()[4].hex(":")
        sock.send(frame(destination, own, 0x88B5, MARK % kind.encode()).ljust(60, b"\0"))


if __name__ == "__main__":
    {"send": send, "see": see, "say": say}[sys.argv[1]](*sys.argv[2:])
