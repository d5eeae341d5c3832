// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Peers and boxes that answer checks as they should not: calls connect in spite of them, or end with a reason and
/// without having flooded anybody.
@Suite("Checks that are answered wrongly")
struct ForgeryTests {
  static let viewer = TransportAddress.simulated(host: 1)
  static let master = TransportAddress.simulated(host: 2)

  private static func isRequest(_ bytes: [UInt8]) -> Bool {
    STUNPeek.kind(of: bytes.rawSpan)?.isRequest == true
  }

  /// The 487 to a check, as somebody makes it who knows the password (RFC 8445 §7.3.1.1).
  private static func conflict(answering request: [UInt8], password: String) -> [UInt8]? {
    guard let id = (try? STUNMessage(parsing: request.rawSpan))?.transactionID else { return nil }
    var builder = STUNMessageBuilder(.errorResponse, .binding, transactionID: id)
    builder.append(.roleConflict)
    builder.appendIntegrity(with: STUNIntegrityKey(password: Secret(password)))
    builder.appendFingerprint()
    return builder.bytes
  }

  private func expectFailure(_ call: Call, _ comment: Comment) {
    for peer in [call.viewer, call.master] {
      #expect(peer.connectionState == .failed, comment)
      #expect(peer.core.iceFailureReason == .noAnswer, comment)
    }
  }

  @Test(
    "T9: two sides that both believe they control end in different roles and connect",
    arguments: UInt64(1)...10)
  func rolesConflict(seed: UInt64) throws {
    let call = try Call(seed: seed)
    let now = call.run.now
    // A third party gives each side the other's offer as the answer to its own.
    let offers = [
      try call.viewer.core.createOffer(at: now), try call.master.core.createOffer(at: now),
    ]
    try call.viewer.core.setLocalDescription(offers[0], at: now)
    try call.master.core.setLocalDescription(offers[1], at: now)
    func answer(_ offer: SessionDescriptionInit, setup: String, direction: (String, String))
      -> SessionDescriptionInit
    {
      let lines = offer.sdp.split(separator: "\r\n").map { line in
        if line == "a=setup:actpass" { return "a=setup:\(setup)" }
        return line == "a=\(direction.0)" ? "a=\(direction.1)" : String(line)
      }
      return SessionDescriptionInit(type: .answer, sdp: lines.joined(separator: "\r\n") + "\r\n")
    }
    try call.viewer.core.setRemoteDescription(
      answer(offers[1], setup: "passive", direction: ("sendonly", "sendonly")), at: now)
    try call.master.core.setRemoteDescription(
      answer(offers[0], setup: "active", direction: ("recvonly", "recvonly")), at: now)
    let isConnected = call.run.run(atMost: .seconds(10)) { $0.isConnected }
    #expect(isConnected, "seed \(seed)")
    let roles = [call.viewer, call.master].map { $0.core.statistics(at: call.run.now).transport.iceRole }
    #expect(Set(roles) == ["controlling", "controlled"], "seed \(seed)")
  }

  @Test(
    "T9: a peer that answers every check with 487 gets a few of them, and the call fails",
    arguments: UInt64(1)...5)
  func conflictStorm(seed: UInt64) throws {
    let call = try Call(seed: seed)
    var requestCount = 0
    var password = ""
    call.run.network.tap = { [run = call.run] bytes, source, _ in
      // The master's own messages are kept from the viewer, who gets a conflict in answer to each check, with the
      // integrity of somebody who knows the password.
      guard source == Self.viewer else { return [] }
      guard Self.isRequest(bytes) else { return [bytes] }
      requestCount += 1
      if let conflict = Self.conflict(answering: bytes, password: password) {
        run.schedule(after: .milliseconds(20)) { $0.inject(conflict, from: Self.master, to: Self.viewer) }
      }
      return []
    }
    try call.run.negotiate(alteringAnswer: { answer in
      password = SessionDescriptionInit(type: .answer, sdp: answer).values(of: "ice-pwd").first ?? ""
      return answer
    })
    call.run.run(atMost: .seconds(90)) { $0.offerer.connectionState == .failed }
    call.run.network.tap = nil
    #expect(requestCount > 1, "seed \(seed)")
    #expect(requestCount <= 7, "seed \(seed): \(requestCount) requests")
    #expect(call.viewer.core.iceFailureReason == .noAnswer, "seed \(seed)")
  }

  @Test("T7: answers from another address than was asked connect nobody", arguments: UInt64(1)...5)
  func answersFromElsewhere(seed: UInt64) throws {
    let call = try Call(seed: seed)
    let elsewhere = TransportAddress.simulated(host: 3)
    call.run.network.tap = { [run = call.run] bytes, _, destination in
      guard bytes.starts(with: [1, 1]) else { return [bytes] }
      run.schedule(after: .milliseconds(10)) { $0.inject(bytes, from: elsewhere, to: destination) }
      return []
    }
    try call.run.negotiate()
    call.run.run(atMost: .seconds(90)) { run in
      run.offerer.connectionState == .failed && run.answerer.connectionState == .failed
    }
    call.run.network.tap = nil
    expectFailure(call, "seed \(seed)")
  }

  @Test(
    "T8: a hundred forged candidates delay a call by their checks' pace at most, and get seven checks each")
  func forgedCandidates() throws {
    let call = try Call(seed: 1)
    var requests: [TransportAddress: Int] = [:]
    call.run.network.tap = { bytes, source, destination in
      if source == Self.viewer, Self.isRequest(bytes) { requests[destination, default: 0] += 1 }
      return [bytes]
    }
    for number in 0..<100 {
      // Better than any that is true.
      let line = "candidate:f\(number) 1 udp 2130706431 203.0.113.\(number) 4000 typ host"
      try call.viewer.core.addICECandidate(
        ICECandidateInit(candidate: line, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: nil),
        at: call.run.now)
    }
    let isConnected = try call.connect(within: .seconds(6))
    #expect(isConnected)
    call.run.run(atMost: .seconds(60))
    call.run.network.tap = nil
    #expect(call.run.isConnected)
    let forged = requests.filter { $0.key != Self.master }
    #expect(forged.values.allSatisfy { $0 <= 7 })
    #expect(forged.count <= 100)
  }
}
