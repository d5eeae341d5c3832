// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import RTP
import SDP
import SansIO
import WebRTCCore

#if DataChannels
  import SCTP
#endif

/// Drives one connection's core: datagrams and deadlines in, datagrams and events out.
///
/// Confined to the event loop of its ``LoopState``, which owns it until it is finished. No hop, lock or task
/// stands between a datagram and the core.
final class PeerDriver {
  /// Datagrams that one connection sends before others get their turn: four bursts of data or a large key frame, less
  /// than a millisecond of work, so that another connection's sound is not late behind a file.
  static let datagramsPerTurnMax = 192
  /// Datagrams that closing may take: the BYE, the ABORT and the close_notify, with room.
  static let closingDatagramsMax = 8

  /// The protocol itself.
  var core: PeerConnectionCore
  /// The number of this connection in its loop; -1 before it joined and after it left.
  var number = -1
  /// Whether its candidates are the loop's sockets; otherwise it gets sockets of its own when it joins.
  let sharesSockets: Bool
  /// The sockets that serve this connection alone.
  var ownSockets: [UDPSocket] = []
  /// Whether it waits for its turn to be drained.
  var isDirty = false
  /// Whether media may be sent.
  private(set) var isConnected = false
  /// Whether it has left its loop for good.
  private(set) var isFinished = false

  /// `nil` at the end: events that were not read may lead back here.
  private var events: PeerEvents?
  /// The application's side of each transceiver, by its number.
  private var transceivers: [Transceiver] = []
  /// The application's side of each data channel.
  var channels = ChannelTable()
  /// The loop as applications hold it; transceivers send through it.
  private let networkLoop: NetworkLoop

  init(
    core: consuming PeerConnectionCore, events: PeerEvents, sharesSockets: Bool, on networkLoop: NetworkLoop
  ) {
    self.core = core
    self.sharesSockets = sharesSockets
    self.events = events
    self.networkLoop = networkLoop
  }

  /// The connection as applications hold it.
  var handle: ConnectionHandle { ConnectionHandle(self, on: networkLoop) }

  // MARK: Input

  /// Hands a datagram to the core.
  ///
  /// - Returns: whether the peer's ICE agent trusts the address that it came from; asked for STUN only.
  func receive(_ datagram: RawSpan, on route: Route, mayProveRoute: Bool, at now: Instant) -> Bool {
    core.receive(datagram, on: route, at: now)
    return mayProveRoute && core.isAuthenticated(route)
  }

  /// Queues a frame with the core when the connection stands.
  ///
  /// - Returns: whether it was queued.
  func send(_ frame: PacketizedFrame, on transceiver: TransceiverID, at now: Instant) -> Bool {
    guard isConnected, !isFinished else { return false }
    core.send(frame, on: transceiver, at: now)
    return true
  }

  /// Adds a transceiver and its application side.
  func addTransceiver(_ kind: MediaKind, _ parameters: TransceiverInit) -> Transceiver {
    transceiver(core.addTransceiver(kind, parameters), kind: kind)
  }

  /// Sets a local description, making it first where none is given (W3C WebRTC §4.4.2, setLocalDescription).
  func setLocalDescription(
    _ given: SessionDescriptionInit?, at now: Instant
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    let description: SessionDescriptionInit
    if let given {
      description = given
    } else if core.signalingState == .haveRemoteOffer {
      description = try core.createAnswer(at: now)
    } else {
      description = try core.createOffer(at: now)
    }
    try core.setLocalDescription(description, at: now)
    return description
  }

  private func transceiver(_ id: TransceiverID, kind: MediaKind) -> Transceiver {
    if let known = transceivers.first(where: { $0.id == id }) { return known }
    let transceiver = Transceiver(id: id, kind: kind, of: handle)
    transceivers.append(transceiver)
    events?.noteTransceiver(transceiver)
    return transceiver
  }

  // MARK: Output

  /// Hands out events and sends what the core has to send, within one turn's share.
  ///
  /// - Returns: whether more is waiting.
  func drain(
    into loop: LoopState, datagramsMax: Int = PeerDriver.datagramsPerTurnMax, at now: Instant
  ) -> Bool {
    channels.takeIn(to: &core, at: now)
    deliverEvents(in: loop, at: now)
    var datagrams = 0
    while datagrams < datagramsMax {
      let count = loop.sendBurst(of: self, at: now)
      guard count > 0 else { break }
      datagrams += count
    }
    deliverEvents(in: loop, at: now)
    let areSendersWaiting = channels.settle(with: core)
    return datagrams >= datagramsMax || areSendersWaiting
  }

  private func deliverEvents(in loop: LoopState, at now: Instant) {
    while let event = core.pollEvent() { deliver(event, in: loop, at: now) }
  }

  private func deliver(_ event: PeerConnectionCore.Event, in loop: LoopState, at now: Instant) {
    switch event {
    case .signalingStateChanged(let state):
      events?.signalingState.set(state)
    case .iceGatheringStateChanged(let state):
      events?.iceGatheringState.set(state)
    case .iceConnectionStateChanged(let state):
      events?.iceConnectionState.set(state)
      if state == .connected || state == .completed { events?.add(.iceConnected(at: now)) }
      if state == .disconnected { loop.servers.verifyRelays(of: number, at: now) }
    case .connectionStateChanged(let state):
      isConnected = state == .connected
      events?.connectionState.set(state)
    case .localCandidate(let candidate):
      events?.addCandidate(candidate)
    case .endOfLocalCandidates:
      events?.addCandidate(nil)
    case .transceiverAdded(let id):
      guard let kind = core.kind(of: id) else { return }
      events?.add(.transceiverAdded(transceiver(id, kind: kind)))
    case .frameReceived(let id, let frame):
      transceivers.first { $0.id == id }?.deliver(frame)
    case .keyFrameRequested(let id):
      transceivers.first { $0.id == id }?.deliverKeyFrameRequest()
    case .nameNeedsResolving(let name):
      loop.names.resolve(name, for: number, at: now)
    case .tcpConnectionWanted(let local, let remote):
      loop.tcpConnections.open(from: local, to: remote, for: self)
    case .negotiationNeeded:
      events?.add(.negotiationNeeded)
    case .dtlsConnected:
      events?.add(.dtlsConnected(at: now))
    case .firstPacketSent(let id):
      events?.add(.firstPacketSent(id, at: now))
    #if DataChannels
      case .dataChannelAdded(let id, let parameters):
        let channel = dataChannel(id, parameters)
        events?.add(.dataChannelAdded(channel))
      case .dataChannelOpened(let id):
        channels.opened(id, stream: core.dataChannelStream(of: id))
      case .messageReceived(let id, let message):
        if !channels.deliver(message, to: id) { core.messageConsumed(message.bytes.count, at: now) }
      case .dataChannelClosing(let id):
        channels.closing(id)
      case .dataChannelClosed(let id):
        channels.closed(id)
      case .bufferedAmountLow, .sctpConnected, .sctpEnded: break
    #endif
    }
  }

  // MARK: End

  /// Says goodbye to the peer and ends. Safe to call at any time and again.
  func close(in loop: LoopState, at now: Instant) {
    guard !isFinished else { return }
    core.close(at: now)
    _ = drain(into: loop, datagramsMax: Self.closingDatagramsMax, at: now)
    finish(in: loop)
  }

  /// Leaves the loop and ends the application's streams.
  func finish(in loop: LoopState) {
    guard !isFinished else { return }
    isFinished = true
    isConnected = false
    loop.remove(self)
    for transceiver in transceivers { transceiver.finish() }
    transceivers = []
    channels.finish()
    events?.finish()
    events = nil
  }
}
