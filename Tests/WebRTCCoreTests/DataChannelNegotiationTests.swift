// SPDX-License-Identifier: Apache-2.0

import DTLS
import SDP
import SansIO
import Testing
import WebRTCCore

#if DataChannels
  import SCTP
#endif

/// A connection without a network, and what it said.
private final class Peer {
  var core: PeerConnectionCore
  private(set) var events: [PeerConnectionCore.Event] = []

  init(
    seed: UInt64, context: DTLSContext, configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    var configuration = PeerConnectionCore.Configuration(
      dtls: context, certificate: try context.makeCertificate(), random: RandomSource(seed: seed),
      transactionPrefix: UInt32(seed), wallClockNanosecondsAtZero: 0)
    configure(&configuration)
    core = PeerConnectionCore(configuration: configuration, at: .zero)
  }

  func takeEvents() {
    while let event = core.pollEvent() { events.append(event) }
  }

  var negotiationNeededCount: Int {
    takeEvents()
    return events.count { if case .negotiationNeeded = $0 { true } else { false } }
  }

  /// The last description of ours that was set.
  private(set) var local: SessionDescription?

  func offer() throws -> SessionDescriptionInit {
    let offer = try core.createOffer(at: .zero)
    try core.setLocalDescription(offer, at: .zero)
    local = try SessionDescription(parsing: offer.sdp)
    return offer
  }

  func answer(_ offer: SessionDescriptionInit) throws -> SessionDescriptionInit {
    try core.setRemoteDescription(offer, at: .zero)
    let answer = try core.createAnswer(at: .zero)
    try core.setLocalDescription(answer, at: .zero)
    local = try SessionDescription(parsing: answer.sdp)
    return answer
  }

  /// Offers to another and takes its answer.
  func negotiate(with other: Peer) throws {
    let answer = try other.answer(try offer())
    try core.setRemoteDescription(answer, at: .zero)
  }

  /// Kinds of the sections that our last description accepts.
  var accepted: [String] { (local?.media ?? []).filter { !$0.isRejected }.map(\.kind.name) }
}

private func audio(_ direction: MediaDirection) -> TransceiverInit {
  TransceiverInit(direction: direction, codecs: [.opus])
}

#if DataChannels
  /// When descriptions have an application section, and what an exchange means for channels.
  @Suite("Data channels in offer and answer")
  struct DataChannelNegotiationTests {
    private let context: DTLSContext
    private let chat = DataChannelParameters(label: "chat")

    init() throws { context = try DTLSContext() }

    private func makePeers(
      configureAnswerer: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
    ) throws -> (Peer, Peer) {
      (
        try Peer(seed: 1, context: context),
        try Peer(seed: 2, context: context, configure: configureAnswerer)
      )
    }

    @Test("The first channel asks for a negotiation, once; once agreed on, none does")
    func asksOnce() throws {
      let (one, other) = try makePeers()
      let id = try one.core.createDataChannel(chat, at: .zero)
      _ = try one.core.createDataChannel(chat, at: .zero)
      #expect(one.negotiationNeededCount == 1)
      let state = one.core.dataChannelState(of: id)
      #expect(state == .connecting)
      let unknown = one.core.remoteMessageByteCountMax
      #expect(unknown == nil)
      try one.negotiate(with: other)
      #expect(one.accepted == ["application"] && other.accepted == ["application"])
      _ = try one.core.createDataChannel(chat, at: .zero)
      _ = try other.core.createDataChannel(chat, at: .zero)
      #expect(one.negotiationNeededCount == 1 && other.negotiationNeededCount == 0)
      let limits = [one.core.remoteMessageByteCountMax, other.core.remoteMessageByteCountMax]
      #expect(limits == [262_144, 262_144])
    }

    @Test("A channel made during an exchange without one is offered after it")
    func madeMeanwhile() throws {
      let (one, other) = try makePeers()
      _ = one.core.addTransceiver(.audio, audio(.recvonly))
      _ = other.core.addTransceiver(.audio, audio(.sendonly))
      let offer = try one.offer()
      let id = try one.core.createDataChannel(chat, at: .zero)
      let otherID = try other.core.createDataChannel(chat, at: .zero)
      let before = one.negotiationNeededCount
      try one.core.setRemoteDescription(try other.answer(offer), at: .zero)
      let states = [one.core.dataChannelState(of: id), other.core.dataChannelState(of: otherID)]
      #expect(states == [.connecting, .connecting])
      #expect(one.negotiationNeededCount == before + 1)
      try one.negotiate(with: other)
      #expect(one.accepted == ["audio", "application"])
    }

    @Test("An offer that is taken back leaves the wish")
    func rollback() throws {
      let (one, other) = try makePeers()
      let id = try one.core.createDataChannel(chat, at: .zero)
      _ = try one.offer()
      try one.core.setLocalDescription(.rollback, at: .zero)
      #expect(one.negotiationNeededCount == 2)
      let state = one.core.dataChannelState(of: id)
      #expect(state == .connecting)
      try one.negotiate(with: other)
      #expect(one.accepted == ["application"])
    }

    @Test("Refused channels are closed and not asked for again; a new one takes up the refused section")
    func refused() throws {
      let (one, other) = try makePeers { $0.acceptsDataChannels = false }
      _ = one.core.addTransceiver(.audio, audio(.recvonly))
      _ = other.core.addTransceiver(.audio, audio(.sendonly))
      let id = try one.core.createDataChannel(chat, at: .zero)
      try one.negotiate(with: other)
      #expect(one.accepted == ["audio", "application"] && other.accepted == ["audio"])
      let count = one.negotiationNeededCount
      #expect(count == 1)
      let closed = one.events.compactMap { if case .dataChannelClosed(let id) = $0 { id } else { nil } }
      #expect(closed == [id])
      let state = one.core.dataChannelState(of: id)
      #expect(state == .closed)
      let limit = one.core.remoteMessageByteCountMax
      #expect(limit == nil)
      // It may be otherwise later: the peer wants channels itself.
      let next = try one.core.createDataChannel(chat, at: .zero)
      #expect(next != id)
      #expect(one.negotiationNeededCount == 2)
      _ = try other.core.createDataChannel(chat, at: .zero)
      try one.negotiate(with: other)
      #expect(one.local?.media.count == 2)
      #expect(one.accepted == ["audio", "application"] && other.accepted == ["audio", "application"])
    }

    @Test("Sizes come from the descriptions, both ways")
    func sizes() throws {
      let (one, other) = try makePeers { $0.dataChannels.association.messageByteCountMax = 50_000 }
      _ = try one.core.createDataChannel(chat, at: .zero)
      let offer = try one.offer()
      let lines = offer.sdp.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("a=max-message-size") }
      let silent = SessionDescriptionInit(type: .offer, sdp: lines.joined(separator: "\r\n") + "\r\n")
      let answer = try other.answer(silent)
      #expect(other.local?.media.first?.maxMessageSize == 50_000)
      let assumed = other.core.remoteMessageByteCountMax
      #expect(assumed == 65_536)
      let endless = answer.sdp.replacing("a=max-message-size:50000", with: "a=max-message-size:0")
      try one.core.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: endless), at: .zero)
      let any = one.core.remoteMessageByteCountMax
      #expect(any == .max)
    }

    @Test("After the end nothing can be made, sent or asked")
    func afterClosing() throws {
      let (one, other) = try makePeers()
      let id = try one.core.createDataChannel(chat, at: .zero)
      try one.negotiate(with: other)
      one.core.close(at: .zero)
      one.takeEvents()
      let closings = one.events.compactMap { event -> String? in
        switch event {
        case .dataChannelClosed(let closed): closed == id ? "channel" : nil
        case .connectionStateChanged(.closed): "connection"
        default: nil
        }
      }
      #expect(closings == ["channel", "connection"])
      #expect(throws: DataChannelError.notOpen) { try one.core.createDataChannel(chat, at: .zero) }
      #expect(throws: DataChannelError.notOpen) {
        try one.core.send(DataChannelMessage(text: "?"), on: id, at: .zero)
      }
      one.core.closeDataChannel(id, at: .zero)
      one.core.messageConsumed(10, at: .zero)
      let event = one.core.pollEvent()
      #expect(event == nil)
    }
  }
#else
  /// Goal: a build without data channels refuses them as RFC 3264 §6 says, and is a camera all the same.
  @Suite("Offer and answer of a build without data channels")
  struct WithoutDataChannelsTests {
    @Test("An offered application section is refused with port 0, the rest is taken")
    func refuses() throws {
      let context = try DTLSContext()
      let camera = try Peer(seed: 1, context: context)
      _ = camera.core.addTransceiver(
        .video, TransceiverInit(direction: .sendonly, codecs: [.h264ConstrainedBaseline]))
      _ = camera.core.addTransceiver(.audio, audio(.sendrecv))
      let answer = try camera.answer(SessionDescriptionInit(type: .offer, sdp: SampleOffers.chromium))
      #expect(answer.sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"))
      #expect(camera.accepted == ["audio", "video"] || camera.accepted == ["video", "audio"])
    }
  }
#endif
