// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import WebRTCCore
import WebRTCTesting

/// What someone without any password or key can make: datagrams of every kind that a connection listens to.
enum Forgery: CaseIterable {
  case stun, dtls, rtp, rtcp, sctp, garbage

  /// A forged datagram. `username` is what the check names the victim by, which anybody may have seen.
  func datagram(username: String = "nobody:nobody", random: inout RandomSource) -> [UInt8] {
    switch self {
    case .stun: Self.check(username: username, random: &random)
    case .dtls: Self.clientHello(random: &random)
    case .rtp: [0x80, 0x66] + random.bytes(60)
    case .rtcp: [0x80, 201, 0, 15] + random.bytes(74)
    // An INIT from port 5000 to port 5000, as it would stand inside of DTLS.
    case .sctp: [0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0] + random.bytes(4) + [1, 0, 0, 20] + random.bytes(16)
    case .garbage: [0x55] + random.bytes(40)
    }
  }

  /// A connectivity check that nominates its path, well-formed in everything but the password.
  static func check(username: String, random: inout RandomSource) -> [UInt8] {
    let id = STUNTransactionID(prefix: UInt32(truncatingIfNeeded: random.next()), suffix: random.next())
    var message = STUNMessageBuilder(.request, transactionID: id)
    message.append(.username, username)
    message.append(.priority, 0x7fff_ffff as UInt32)
    message.append(.iceControlling, random.next())
    message.append(.useCandidate, [])
    message.appendIntegrity(with: STUNIntegrityKey(password: Secret("guessed-password-of-22")))
    message.appendFingerprint()
    return message.bytes
  }

  /// A DTLS record with a handshake message of type ClientHello and nothing sensible in it.
  static func clientHello(random: inout RandomSource) -> [UInt8] {
    let count = 50 + Int(random.next() % 400)
    let body = [1, 0, 0, UInt8(truncatingIfNeeded: random.next())] + random.bytes(count)
    let length = [UInt8(body.count >> 8), UInt8(body.count & 0xff)]
    return [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, UInt8(truncatingIfNeeded: random.next())] + length + body
  }
}

/// What passed a wiretap: every datagram of both peers, in order.
final class Wiretap {
  struct Datagram {
    let bytes: [UInt8]
    let source: TransportAddress
    let destination: TransportAddress

    var isSTUN: Bool { bytes.first.map { $0 < 4 } ?? false }
    var isDTLS: Bool { bytes.first.map { (20...63).contains($0) } ?? false }
    var isMedia: Bool { bytes.first.map { $0 >= 128 } ?? false }
    var isRTP: Bool { isMedia && bytes.count > 12 && !(192...223).contains(bytes[1]) }
    var sequenceNumber: UInt16 { UInt16(bytes[2]) << 8 | UInt16(bytes[3]) }
    var ssrc: UInt32 { bytes[8..<12].reduce(0) { $0 << 8 | UInt32($1) } }
  }

  private(set) var datagrams: [Datagram] = []

  /// Listens to a run from here on.
  init(_ run: Simulation) {
    run.network.tap = { [self] bytes, source, destination in
      datagrams.append(Datagram(bytes: bytes, source: source, destination: destination))
      return [bytes]
    }
  }
}

/// Source and packet index, by which SRTP makes its nonces.
struct Nonce: Hashable {
  let ssrc: UInt32
  let index: Int64
}

extension Wiretap {
  /// The nonces of all RTP packets from an address, indexes told from the order on the wire.
  func nonces(from source: TransportAddress) -> (all: [Nonce], wraps: Int) {
    var highest: [UInt32: Int64] = [:]
    var result: [Nonce] = []
    for datagram in datagrams where datagram.isRTP && datagram.source == source {
      let number = Int64(datagram.sequenceNumber)
      let last = highest[datagram.ssrc] ?? number
      let distance = Int16(truncatingIfNeeded: number - last)
      let index = last + Int64(distance)
      highest[datagram.ssrc] = max(last, index)
      result.append(Nonce(ssrc: datagram.ssrc, index: index))
    }
    return (result, highest.values.filter { $0 > 0xffff }.count)
  }
}

extension TransportAddress {
  /// Where the attacker sits.
  static let attacker = TransportAddress.simulated(host: 66, port: 6666)
}

extension StatisticsReport {
  /// Everything that was dropped, of whatever layer.
  var dropCount: UInt64 { transport.drops.values.reduce(0, +) }
}

extension SimulatedPeer {
  /// Everything that was dropped so far.
  func dropCount(at now: Instant) -> UInt64 { core.statistics(at: now).dropCount }

  /// The drops of one cause.
  func drops(_ cause: String, at now: Instant) -> UInt64 {
    core.statistics(at: now).transport.drops[cause] ?? 0
  }
}
