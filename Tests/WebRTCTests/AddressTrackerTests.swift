// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import WebRTC

@Suite("Which addresses get a socket when the host's addresses change")
struct AddressTrackerTests {
  private let a = IPAddress(ipv4: 0xc000_0201)
  private let b = IPAddress(ipv4: 0xc000_0202)
  private let start = Instant(nanoseconds: 5_000_000_000)

  @Test("nothing is done while nothing changes; a new address is opened")
  func opening() {
    var tracker = AddressTracker()
    let same = tracker.plan(bound: [a], wanted: [a], existing: [a], at: start)
    #expect(same == .init())
    let more = tracker.plan(bound: [a], wanted: [b, a], existing: [a, b], at: start)
    #expect(more == .init(toOpen: [b]))
  }

  @Test(
    "an address that is gone keeps its socket for a second; one that comes back in time keeps it for good")
  func closing() {
    var tracker = AddressTracker()
    let deadline = start + AddressTracker.absenceMax
    let gone = tracker.plan(bound: [a, b], wanted: [b], existing: [b], at: start)
    #expect(gone == .init(nextLook: deadline))
    let early = tracker.plan(
      bound: [a, b], wanted: [b], existing: [b], at: deadline - TimeDelta(nanoseconds: 1))
    #expect(early == .init(nextLook: deadline))
    let back = tracker.plan(bound: [a, b], wanted: [a, b], existing: [a, b], at: deadline)
    #expect(back == .init())
    let goneAgain = tracker.plan(bound: [a, b], wanted: [b], existing: [b], at: deadline)
    #expect(goneAgain == .init(nextLook: deadline + AddressTracker.absenceMax))
    let closed = tracker.plan(
      bound: [a, b], wanted: [b], existing: [b], at: deadline + AddressTracker.absenceMax)
    #expect(closed == .init(toClose: [a]))
    let done = tracker.plan(bound: [b], wanted: [b], existing: [b], at: deadline + .seconds(9))
    #expect(done == .init())
  }

  @Test("one address replaces another: the new one is opened at once, the old one goes later")
  func replacing() {
    var tracker = AddressTracker()
    let plan = tracker.plan(bound: [a], wanted: [b], existing: [b], at: start)
    #expect(plan == .init(toOpen: [b], nextLook: start + AddressTracker.absenceMax))
    let later = tracker.plan(bound: [a, b], wanted: [b], existing: [b], at: start + .seconds(1))
    #expect(later == .init(toClose: [a]))
  }

  @Test("an address that exists keeps its socket although it would not be chosen today")
  func notWanted() {
    var tracker = AddressTracker()
    let loopback = IPAddress(ipv4: 0x7f00_0001)
    let plan = tracker.plan(bound: [loopback], wanted: [a], existing: [loopback, a], at: start)
    #expect(plan == .init(toOpen: [a]))
  }

  @Test("a host with a thousand addresses gets a bounded number of sockets, whatever comes and goes")
  func bounded() {
    var tracker = AddressTracker()
    let many = (0..<1000).map { IPAddress(ipv4: 0x0a00_0000 + UInt32($0)) }
    let first = tracker.plan(bound: [], wanted: many, existing: Set(many), at: start)
    #expect(first.toOpen.count == NetworkInterfaces.addressesMax)
    let full = tracker.plan(bound: first.toOpen, wanted: many, existing: Set(many), at: start)
    #expect(full == .init())
  }

  @Test("a translator's addresses are announced for sockets of their family, with the port of each")
  func advertised() throws {
    let texts = ["198.51.100.9", "2001:db8::9", "0.0.0.0", "224.0.0.1", "::ffff:1.2.3.4", "192.0.2.1"]
    let advertised = AdvertisedAddresses(texts.compactMap { IPAddress($0) })
    func mapped(_ text: String) throws -> [String] {
      let ip = try #require(IPAddress(text))
      return advertised.mappedAddresses(
        of: LocalSocket(id: 1, address: TransportAddress(ip: ip, port: 4000))
      )
      .map(\.description)
    }
    #expect(try mapped("10.0.0.1") == ["198.51.100.9:4000", "192.0.2.1:4000"])
    #expect(try mapped("192.0.2.1") == ["198.51.100.9:4000"])
    #expect(try mapped("fd00::1") == ["[2001:db8::9]:4000"])
    #expect(try mapped("127.0.0.1") == [])
    #expect(try mapped("::1") == [])
  }
}
