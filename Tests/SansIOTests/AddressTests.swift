// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@Suite("Addresses and routes")
struct AddressTests {
  @Test(
    "Addresses are parsed and printed as RFC 5952 wants",
    arguments: [
      ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
      ("2001:DB8::1", "2001:db8::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("::", "::"),
      ("::1", "::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("::ffff:192.0.2.1", "::ffff:c000:201"),
      ("fe80::1%2", "fe80::1%2"), ("1::", "1::"),
    ])
  func parsesAndPrints(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(
    "What is no address is refused",
    arguments: [
      "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.+4", ":", ":::", "1:2:3:4:5:6:7", "g::",
      "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "::1.2.3", "fe80::1%eth0", "f.local", "+1::", "1.2.3.4::",
    ])
  func refuses(text: String) {
    #expect(IPAddress(text) == nil)
  }

  private func socket(_ ip: String) throws -> LocalSocket {
    LocalSocket(id: 1, address: TransportAddress(ip: try #require(IPAddress(ip)), port: 5000))
  }

  @Test(
    "T45: no route to an address that may not be sent to",
    arguments: [
      ("192.0.2.1", "192.0.2.2", 0), ("192.0.2.1", "0.0.0.0", 9), ("192.0.2.1", "255.255.255.255", 9),
      ("192.0.2.1", "224.0.0.251", 9), ("192.0.2.1", "2001:db8::1", 9),
      ("2001:db8::1", "::ffff:192.0.2.1", 9),
      ("2001:db8::1", "ff02::fb", 9), ("2001:db8::1", "::", 9), ("2001:db8::1", "fe80::2", 9),
      ("fe80::1%2", "fe80::2%3", 9), ("192.0.2.1", "127.0.0.1", 9), ("127.0.0.1", "192.0.2.1", 9),
    ])
  func refusesRoute(from: String, to: String, port: Int) throws {
    let remote = TransportAddress(ip: try #require(IPAddress(to)), port: UInt16(port))
    #expect(Route(sendingFrom: try socket(from), to: remote) == nil)
  }

  @Test(
    "Unicast addresses of the socket's family and scope make a route",
    arguments: [
      ("192.0.2.1", "198.51.100.7"), ("127.0.0.1", "127.0.0.2"), ("2001:db8::1", "2001:db8::2"),
      ("fe80::1%2", "fe80::2"), ("fe80::1%2", "fe80::2%2"),
    ])
  func makesRoute(from: String, to: String) throws {
    let remote = TransportAddress(ip: try #require(IPAddress(to)), port: 9)
    #expect(Route(sendingFrom: try socket(from), to: remote) != nil)
  }
}
