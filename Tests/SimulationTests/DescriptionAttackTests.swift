// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// What comes over signaling is the peer's word or a man in the middle's: descriptions and candidates that lie.
@Suite("Hostile descriptions and candidates")
struct DescriptionAttackTests {
  enum Forged: CaseIterable {
    case offer, answer
  }

  /// Negotiates with the lines of offer or answer replaced, `nil` for gone.
  private func negotiate(_ call: Call, _ forged: Forged, _ replace: @escaping (String) -> String?) throws {
    func forge(_ sdp: String) -> String {
      sdp.split(separator: "\r\n").compactMap { replace(String($0)) }.joined(separator: "\r\n") + "\r\n"
    }
    switch forged {
    case .offer: try call.run.negotiate(alteringOffer: forge)
    case .answer: try call.run.negotiate(alteringAnswer: forge)
    }
  }

  private static let otherFingerprint =
    "a=fingerprint:sha-256 " + Array(repeating: "AB", count: 32).joined(separator: ":")

  @Test(
    "T12: a certificate that does not match fails either role at once; no media leaves",
    arguments: Forged.allCases)
  func refusesOtherCertificate(forged: Forged) throws {
    let call = try Call(seed: 70)
    let wire = Wiretap(call.run)
    try negotiate(call, forged) { $0.hasPrefix("a=fingerprint:") ? Self.otherFingerprint : $0 }
    let deceived = forged == .offer ? call.master : call.viewer
    let isFailed = call.run.run(atMost: .seconds(1)) { _ in deceived.connectionState == .failed }
    #expect(isFailed)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .seconds(2))
    #expect(call.viewer.frames.isEmpty)
    let address = try #require(deceived.sockets.first).address
    let mediaOfDeceived = wire.datagrams.filter { $0.isMedia && $0.source == address }
    #expect(mediaOfDeceived.isEmpty)
  }

  @Test("T12: no fingerprint or a weak one is refused before anything is sent", arguments: Forged.allCases)
  func refusesWeakFingerprint(forged: Forged) throws {
    let sha1 = "a=fingerprint:sha-1 " + Array(repeating: "AB", count: 20).joined(separator: ":")
    for replacement in [
      nil, sha1, "a=fingerprint:sha-256 AB:CD", "a=fingerprint:md5 AB:CD", "a=fingerprint:",
    ] {
      let call = try Call(seed: 71)
      try negotiate(call, forged) { $0.hasPrefix("a=fingerprint:") ? replacement : $0 }
      call.run.run(atMost: .seconds(3))
      #expect(call.run.negotiationError is PeerConnectionError, "\(replacement ?? "none")")
      #expect(!call.run.isConnected)
      #expect(call.run.network.sentCount == 0 || forged == .answer)
    }
  }

  @Test("T12: a second description with another fingerprint or ICE password is refused; the call goes on")
  func refusesSwappedFingerprint() throws {
    let call = try Call(seed: 72)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 50)
    let now = call.run.now
    let offer = try call.viewer.core.createOffer(at: now)
    let password = "a=ice-pwd:" + String(repeating: "x", count: 24)
    for (prefix, replacement, refusal) in [
      ("a=fingerprint:", Self.otherFingerprint, PeerConnectionError.dtlsAssociationChanged),
      ("a=ice-pwd:", password, .incompleteICERestart),
    ] {
      let forged = offer.sdp.split(separator: "\r\n").map { $0.hasPrefix(prefix) ? replacement : String($0) }
      let sdp = forged.joined(separator: "\r\n") + "\r\n"
      #expect(throws: refusal) {
        try call.master.core.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: sdp), at: now)
      }
      #expect(call.master.core.signalingState == .stable)
    }
    call.run.run(atMost: .seconds(3))
    #expect(call.run.isConnected)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
  }

  @Test("T15: every way down to weaker or no protection is refused", arguments: Forged.allCases)
  func refusesDowngrade(forged: Forged) throws {
    let profiles = ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "UDP/TLS/RTP/SAVP"]
    for profile in profiles {
      let call = try Call(seed: 73)
      try negotiate(call, forged) { line in
        let words = line.split(separator: " ").map { $0 == "UDP/TLS/RTP/SAVPF" ? profile : String($0) }
        return line.hasPrefix("m=") ? words.joined(separator: " ") : line
      }
      expectNoMedia(call, profile)
    }
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    for (prefix, replacement) in [
      ("a=rtcp-mux", nil), ("a=rtcp-mux", "a=rtcp-mux\r\n" + crypto), ("a=setup:", "a=setup:holdconn"),
    ] as [(String, String?)] {
      let call = try Call(seed: 74)
      try negotiate(call, forged) { $0.hasPrefix(prefix) ? replacement : $0 }
      expectNoMedia(call, replacement ?? prefix)
    }
  }

  /// Either an error or a valid rejection is fine; a call is not.
  private func expectNoMedia(_ call: Call, _ what: String) {
    call.run.run(atMost: .seconds(2))
    call.sendMedia(pictures: 3)
    call.run.run(atMost: .seconds(1))
    #expect(!call.run.isConnected, "\(what)")
    #expect(call.viewer.frames.isEmpty, "\(what)")
  }

  @Test("T36: ten thousand candidates before and after the description are bounded, and the call connects")
  func survivesCandidateFlood() throws {
    let call = try Call(seed: 75)
    let flood: (Simulation) -> Void = { run in
      for number in 0..<10_000 {
        let line =
          "candidate:\(number) 1 udp 2122260223 198.18.\(number / 250 + 1).\(number % 250 + 1) 6000 typ host"
        try? run.offerer.core.addICECandidate(ICECandidateInit(candidate: line), at: run.now)
      }
    }
    flood(call.run)
    #expect(call.viewer.core.dropCounters[.earlyCandidateOverflow] == 9_950)
    let wire = Wiretap(call.run)
    call.run.schedule(after: .milliseconds(50), flood)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.run.run(atMost: .seconds(10))
    let strangers = wire.datagrams.filter {
      $0.destination != .simulated(host: 1) && $0.destination != .simulated(host: 2)
    }
    #expect(strangers.count <= 7 * 100, "\(strangers.count) checks to strangers")
    let pairs = call.viewer.core.statistics(at: call.run.now).ice.pairs.count
    #expect(pairs <= 100)
  }

  @Test("T45: candidates that must not be sent to get nothing, and disturb nothing")
  func sendsNothingToForbiddenAddresses() throws {
    let call = try Call(seed: 76)
    let wire = Wiretap(call.run)
    let addresses = [
      "198.18.0.9 0", "255.255.255.255 6000", "224.0.0.1 6000", "0.0.0.0 6000", "127.0.0.1 6000", ":: 6000",
      "ff02::1 6000", "::ffff:198.18.0.9 6000", "198.18.0.9 53", "239.1.2.3 5004", "::1 6000", "fe80::1 6000",
    ]
    let add: (Simulation) -> Void = { run in
      for address in addresses {
        let line = "candidate:1 1 udp 2122260223 \(address) typ host"
        for peer in [run.offerer, run.answerer] {
          try? peer.core.addICECandidate(ICECandidateInit(candidate: line), at: run.now)
        }
      }
    }
    add(call.run)
    call.run.schedule(after: .milliseconds(45), add)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.run.run(atMost: .seconds(5))
    let own: Set<TransportAddress> = [.simulated(host: 1), .simulated(host: 2)]
    #expect(wire.datagrams.allSatisfy { own.contains($0.destination) })
  }

  @Test("A rejected first exchange can be followed by an accepted one")
  func acceptsAfterRejecting() throws {
    let call = try Call(seed: 77)
    let now = call.run.now
    let offer = try call.viewer.core.createOffer(at: now)
    try call.viewer.core.setLocalDescription(offer, at: now)
    try call.master.core.setRemoteDescription(offer, at: now)
    let refusal = try call.master.core.createAnswer(rejectAll: true, at: now)
    try call.master.core.setLocalDescription(refusal, at: now)
    try call.viewer.core.setRemoteDescription(refusal, at: now)
    call.run.run(atMost: .seconds(1))
    #expect(call.viewer.connectionState == .new)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .seconds(1))
    #expect(call.viewer.frames(of: call.viewerVideo).count == 10)
  }
}
