// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import WebRTC

@Suite("SocketTable: which peer a datagram belongs to")
struct SocketTableTests {
  private let socket = LocalSocket(
    id: 0, address: TransportAddress(ip: IPAddress(ipv4: 0xc000_0201), port: 5000))

  private func route(_ host: UInt32, socketID: UInt32 = 0) -> Route {
    let local = LocalSocket(id: socketID, address: socket.address)
    return Route(
      receivedOn: local, from: TransportAddress(ip: IPAddress(ipv4: 0xc633_6400 | host), port: 4000))
  }

  private func lookup(_ datagram: [UInt8], on route: Route, in table: SocketTable) -> SocketTable.Destination
  {
    table.lookup(datagram.rawSpan, on: route)
  }

  private func makeTable() -> SocketTable {
    var table = SocketTable()
    _ = table.add(peer: 0, usernameFragment: "alpha", transactionPrefix: 0x0102_0304)
    _ = table.add(peer: 1, usernameFragment: "beta", transactionPrefix: 0x0506_0708)
    return table
  }

  @Test("a STUN request goes to the peer that its user name starts with, wherever it came from")
  func requests() {
    var table = makeTable()
    #expect(lookup(STUN.request(to: "alpha"), on: route(1), in: table) == .peer(0, mayProveRoute: true))
    table.attach(route(1), to: 0)
    #expect(lookup(STUN.request(to: "beta"), on: route(1), in: table) == .peer(1, mayProveRoute: true))
    #expect(
      lookup(STUN.request(to: "gamma"), on: route(1), in: table) == .dropped(.unknownUsernameFragment))
    #expect(lookup(STUN.request(to: nil), on: route(1), in: table) == .dropped(.malformedSTUN))
  }

  @Test("a STUN response goes to the peer whose transaction it ends")
  func responses() {
    let table = makeTable()
    #expect(
      lookup(STUN.response(prefix: 0x0506_0708), on: route(9), in: table) == .peer(1, mayProveRoute: true))
    #expect(lookup(STUN.response(prefix: 7), on: route(9), in: table) == .dropped(.unknownTransaction))
  }

  @Test("anything else goes by address, and only from an address that proved itself")
  func addresses() {
    var table = makeTable()
    let media: [UInt8] = [0x80, 96, 0, 1]
    #expect(lookup(media, on: route(1), in: table) == .dropped(.unknownAddress))
    table.attach(route(1), to: 1)
    #expect(lookup(media, on: route(1), in: table) == .peer(1, mayProveRoute: false))
    #expect(lookup(media, on: route(2), in: table) == .dropped(.unknownAddress))
    #expect(lookup(media, on: route(1, socketID: 1), in: table) == .dropped(.unknownAddress))
    #expect(lookup([], on: route(1), in: table) == .dropped(.emptyDatagram))
  }

  @Test("an address that proves itself to another peer is taken over")
  func takeover() {
    var table = makeTable()
    table.attach(route(1), to: 0)
    table.attach(route(1), to: 1)
    #expect(lookup([0x80], on: route(1), in: table) == .peer(1, mayProveRoute: false))
    #expect(table.routeCount == 1)
    table.remove(peer: 0)
    #expect(lookup([0x80], on: route(1), in: table) == .peer(1, mayProveRoute: false))
  }

  @Test("a socket that is gone takes its addresses along, and only those")
  func socketRemoval() {
    var table = makeTable()
    table.attach(route(1), to: 0)
    table.attach(route(2), to: 1)
    table.attach(route(1, socketID: 1), to: 0)
    table.removeRoutes(ofSocket: 0)
    #expect(table.routeCount == 1)
    #expect(lookup([0x80], on: route(1), in: table) == .dropped(.unknownAddress))
    #expect(lookup([0x80], on: route(1, socketID: 1), in: table) == .peer(0, mayProveRoute: false))
    // The number is given to another socket, and the same address belongs to whoever proves it there.
    table.attach(route(1), to: 1)
    table.remove(peer: 0)
    #expect(lookup([0x80], on: route(1), in: table) == .peer(1, mayProveRoute: false))
  }

  @Test("a peer that is removed leaves nothing behind")
  func removal() {
    var table = makeTable()
    table.attach(route(1), to: 0)
    table.attach(route(2), to: 0)
    table.setUsernameFragments(["alpha", "second"], of: 0)
    table.remove(peer: 0)
    #expect(table.routeCount == 0)
    #expect(table.peerCount == 1)
    #expect(
      lookup(STUN.request(to: "second"), on: route(1), in: table) == .dropped(.unknownUsernameFragment))
    let isAdded = table.add(peer: 0, usernameFragment: "alpha", transactionPrefix: 0x0102_0304)
    #expect(isAdded)
  }

  @Test("a user name fragment or a transaction prefix belongs to one peer")
  func uniqueness() {
    var table = makeTable()
    let hasSameFragment = table.add(peer: 2, usernameFragment: "alpha", transactionPrefix: 9)
    let hasSamePrefix = table.add(peer: 2, usernameFragment: "delta", transactionPrefix: 0x0102_0304)
    #expect(!hasSameFragment)
    #expect(!hasSamePrefix)
    #expect(table.peerCount == 2)
  }

  @Test("a restart's fragment is known beside the old one, and what is replaced or taken back is forgotten")
  func restart() {
    var table = makeTable()
    table.setUsernameFragments(["alpha", "second"], of: 0)
    for fragment in ["alpha", "second"] {
      #expect(lookup(STUN.request(to: fragment), on: route(1), in: table) == .peer(0, mayProveRoute: true))
    }
    table.setUsernameFragments(["alpha", "third"], of: 0)
    #expect(lookup(STUN.request(to: "alpha"), on: route(1), in: table) == .peer(0, mayProveRoute: true))
    #expect(
      lookup(STUN.request(to: "second"), on: route(1), in: table) == .dropped(.unknownUsernameFragment))
    table.setUsernameFragments(["third"], of: 0)
    #expect(
      lookup(STUN.request(to: "alpha"), on: route(1), in: table) == .dropped(.unknownUsernameFragment))
    #expect(lookup(STUN.request(to: "third"), on: route(1), in: table) == .peer(0, mayProveRoute: true))
  }

  @Test("a fragment of another peer cannot be taken, and nobody has more than three")
  func boundsFragments() {
    var table = makeTable()
    table.setUsernameFragments(["beta", "1", "2", "3", "4"], of: 0)
    #expect(lookup(STUN.request(to: "beta"), on: route(1), in: table) == .peer(1, mayProveRoute: true))
    #expect(lookup(STUN.request(to: "1"), on: route(1), in: table) == .dropped(.unknownUsernameFragment))
    #expect(lookup(STUN.request(to: "2"), on: route(1), in: table) == .peer(0, mayProveRoute: true))
    #expect(table.peerCount == 2)
  }

  @Test("one peer's addresses are bounded: its oldest is forgotten, others' are not")
  func bounds() {
    var table = makeTable()
    table.attach(route(255), to: 1)
    for host in 0..<100 as Range<UInt32> { table.attach(route(host), to: 0) }
    #expect(table.routeCount == SocketTable.routesPerPeerMax + 1)
    #expect(lookup([0x80], on: route(0), in: table) == .dropped(.unknownAddress))
    #expect(lookup([0x80], on: route(99), in: table) == .peer(0, mayProveRoute: false))
    #expect(lookup([0x80], on: route(255), in: table) == .peer(1, mayProveRoute: false))
  }

  @Test("T10 every prefix and many bit flips of a STUN request find their peer or none, without a trap")
  func malformed() {
    let table = makeTable()
    let request = STUN.request(to: "alpha")
    for count in 0..<request.count {
      _ = lookup(Array(request.prefix(count)), on: route(1), in: table)
    }
    var random = RandomSource(seed: 10)
    for _ in 0..<2000 {
      var changed = request
      for _ in 0..<3 {
        changed[Int.random(in: 0..<changed.count, using: &random)] ^= 1 << (random.next() & 7)
      }
      if case .peer(let peer, _) = lookup(changed, on: route(1), in: table) { #expect(peer < 2) }
    }
  }
}

/// Just enough of STUN messages (RFC 8489 §5) for a table to look at.
enum STUN {
  static func request(to localFragment: String?) -> [UInt8] {
    guard let localFragment else { return message(type: 0x0001, prefix: 1, attributes: []) }
    let name = Array("\(localFragment):remote".utf8)
    let padding = [UInt8](repeating: 0, count: (4 - name.count % 4) % 4)
    return message(type: 0x0001, prefix: 1, attributes: [0, 6, 0, UInt8(name.count)] + name + padding)
  }

  static func response(prefix: UInt32) -> [UInt8] { message(type: 0x0101, prefix: prefix, attributes: []) }

  private static func message(type: UInt16, prefix: UInt32, attributes: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [UInt8(type >> 8), UInt8(type & 0xff), 0, UInt8(attributes.count)]
    bytes += [0x21, 0x12, 0xa4, 0x42]
    bytes += (0..<4).map { UInt8(truncatingIfNeeded: prefix >> (24 - 8 * UInt32($0))) }
    bytes += [1, 2, 3, 4, 5, 6, 7, 8]
    return bytes + attributes
  }
}
