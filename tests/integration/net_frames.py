#!/usr/bin/python3
"""Frames that a guest may not send, and who sees them.

    net_frames.py send INTERFACE OWN_MAC OWN_IP OTHER_MAC OTHER_IP BRIDGE_IP
        sends one of each kind with its name in it, then "honest", which is in order
    net_frames.py see INTERFACE LAST_KIND
        prints "ready", then the name of each kind that arrives, up to LAST_KIND or for ten seconds
    net_frames.py say INTERFACE KIND MAC
        sends "KIND" to a MAC address, from whatever the interface has
    net_frames.py print OWN_MAC OWN_IP OTHER_MAC OTHER_IP BRIDGE_IP
        the frames of send, one a line in hexadecimal digits
    net_frames.py redirect INTERFACE MAC OWN_MAC OWN_IP GATEWAY SOURCE DESTINATION PORT
        tells MAC that GATEWAY is the way from SOURCE to DESTINATION, as the answer to a datagram between these ports
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


def ipv4(protocol, source, destination, body, options=b"", fragment=0):
    header = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 0, fragment, 64, protocol,
                         0, ip(source), ip(destination)) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def udp(kind, source, destination, ports=(1000, 2000), **header):
    payload = MARK % kind.encode()
    payload += b" " * (len(payload) % 2)
    return ipv4(17, source, destination, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload, **header)


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
    routed = b"\x83\x07\x04" + ip("169.254.169.254") + b"\0"  # LSRR
    recorded = b"\x07\x07\x04" + bytes(5)  # RR
    snap = b"\xaa\xaa\x03\0\0\0\x08\0"
    return {
        "other-mac": frame(host, other_mac, 0x0800, udp("other-mac", own_ip, bridge_ip)),
        "other-ip": frame(host, own_mac, 0x0800, udp("other-ip", other_ip, bridge_ip)),
        "other-both": frame(host, other_mac, 0x0800, udp("other-both", other_ip, bridge_ip)),
        "host-ip": frame(host, own_mac, 0x0800, udp("host-ip", bridge_ip, bridge_ip)),
        "loopback-ip": frame(host, own_mac, 0x0800, udp("loopback-ip", "127.0.0.1", bridge_ip)),
        "no-ip": frame(host, own_mac, 0x0800, udp("no-ip", "0.0.0.0", "255.255.255.255", (68, 67))),
        "dhcp-server": frame(host, own_mac, 0x0800, udp("dhcp-server", other_ip, "255.255.255.255", (67, 68))),
        "multicast-other": frame("01:00:5e:00:00:fb", own_mac, 0x0800, udp("multicast-other", other_ip, "224.0.0.251")),
        "fragment-other": frame(host, own_mac, 0x0800, udp("fragment-other", other_ip, bridge_ip, fragment=1)),
        "source-route": frame(host, own_mac, 0x0800, udp("source-route", own_ip, bridge_ip, options=routed)),
        "record-route": frame(host, own_mac, 0x0800, udp("record-route", own_ip, bridge_ip, options=recorded)),
        "snap": frame(host, own_mac, 8 + 64, snap + udp("snap", own_ip, bridge_ip)),
        "pppoe": frame(host, own_mac, 0x8864, b"\x11\0\0\1\0\x42\0\x21" + udp("pppoe", own_ip, bridge_ip)),
        "to-other": frame(other_mac, other_mac, 0x0800, udp("to-other", other_ip, other_ip)),
        "arp-other-ip": frame(host, own_mac, 0x0806, arp("arp-other-ip", 2, own_mac, other_ip, BROADCAST, bridge_ip)),
        "arp-host-ip": frame(host, own_mac, 0x0806, arp("arp-host-ip", 2, own_mac, bridge_ip, BROADCAST, bridge_ip)),
        "arp-gratuitous": frame(host, own_mac, 0x0806, arp("arp-gratuitous", 1, own_mac, bridge_ip, BROADCAST, bridge_ip)),
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
        "vlan-ad": frame(host, own_mac, 0x88A8, struct.pack("!HH", 5, 0x0800) + udp("vlan-ad", own_ip, bridge_ip)),
        "vlan-old": frame(host, own_mac, 0x9100, struct.pack("!HHHH", 5, 0x8100, 6, 0x0800) + udp("vlan-old", own_ip, bridge_ip)),
        "lldp": frame(lldp, own_mac, 0x88CC, MARK % b"lldp"),
        "lacp": frame("01:80:c2:00:00:02", own_mac, 0x8809, MARK % b"lacp"),
        "bridge-group": frame("01:80:c2:00:00:00", own_mac, 0x0027, MARK % b"bridge-group"),
        "unknown": frame(host, own_mac, 0x88B5, MARK % b"unknown"),
        # The last one is in order.
        "honest": frame(host, own_mac, 0x0800, udp("honest", own_ip, bridge_ip)),
    }


def send_all(interface, *frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        for data in frames:
            sock.send(data.ljust(60, b"\0"))


def send(interface, *addresses):
    send_all(interface, *kinds(*addresses).values())


def print_all(*addresses):
    for data in kinds(*addresses).values():
        print(data.ljust(60, b"\0").hex())


def redirect(interface, target, own_mac, own_ip, gateway, source, destination, port):
    asked = ipv4(17, source, destination, struct.pack("!HHHH", int(port), int(port), 8, 0))
    body = struct.pack("!BBH4s", 5, 1, 0, ip(gateway)) + asked
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    send_all(interface, frame(target, own_mac, 0x0800, ipv4(1, own_ip, source, body)))


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
    {"send": send, "see": see, "say": say, "print": print_all, "redirect": redirect}[sys.argv[1]](*sys.argv[2:])
