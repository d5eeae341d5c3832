// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO
import Testing

@testable import WebRTC

@Suite("Interfaces and socket addresses, RFC 8445 §5.1.1.1")
struct NetworkInterfaceTests {
  private func interface(_ name: String, _ text: String) throws -> NetworkInterface {
    NetworkInterface(name: name, address: try #require(IPAddress(text)))
  }

  @Test("loopback and link-local IPv6 are left out where there is something better; IPv6 comes first")
  func selection() throws {
    let loopback = try interface("lo", "127.0.0.1")
    let v4 = try interface("eth0", "192.0.2.7")
    let v6 = try interface("eth0", "2001:db8::7")
    let link = try interface("eth0", "fe80::1%2")
    #expect(
      NetworkInterfaces.usable(from: [loopback, v4, link, v6, v4], includingLoopback: false) == [v6, v4])
    #expect(
      NetworkInterfaces.usable(from: [loopback, v4, link], includingLoopback: true) == [v4, loopback])
    #expect(NetworkInterfaces.usable(from: [loopback, link], includingLoopback: false) == [link])
    #expect(NetworkInterfaces.usable(from: [loopback], includingLoopback: false) == [loopback])
    #expect(NetworkInterfaces.usable(from: [], includingLoopback: true) == [])
  }

  @Test("a host with a thousand addresses gets a bounded number of sockets")
  func bounded() {
    let many = (0..<1000).map {
      NetworkInterface(name: "eth0", address: IPAddress(ipv4: 0x0a00_0000 + UInt32($0) + 1))
    }
    #expect(
      NetworkInterfaces.usable(from: many, includingLoopback: true).count == NetworkInterfaces.addressesMax)
  }

  @Test("this host has a loopback interface or another one")
  func current() {
    #expect(
      !NetworkInterfaces.usable(from: NetworkInterfaces.current(), includingLoopback: true).isEmpty)
  }

  @Test(
    "addresses survive the way to NIO and back",
    arguments: ["192.0.2.1", "2001:db8::1:2", "fe80::9%3", "::1"])
  func conversion(text: String) throws {
    let address = TransportAddress(ip: try #require(IPAddress(text)), port: 40_001)
    #expect(TransportAddress(address.socketAddress) == address)
    #expect(address.socketAddress.port == 40_001)
  }
}
