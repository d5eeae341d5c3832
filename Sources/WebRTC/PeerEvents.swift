// SPDX-License-Identifier: Apache-2.0

import ICE
public import SansIO
import Synchronization
public import WebRTCCore

/// What happens on a connection beside its states, candidates and media.
public enum PeerConnectionEvent: Sendable {
  /// An offer has to be made (W3C WebRTC §4.7.3): for a transceiver that the peer does not know of, or to restart
  /// ICE after the path was lost or ``PeerConnection/restartICE()`` was called.
  case negotiationNeeded
  /// The peer's description brought a transceiver that we had not made (the `track` event of browsers).
  case transceiverAdded(Transceiver)
  /// ICE has a path to the peer (again, or a better one), on the monotonic clock.
  case iceConnected(at: Instant)
  /// The DTLS handshake ended well, on the monotonic clock.
  case dtlsConnected(at: Instant)
  /// The first media packet of a transceiver was handed to the network, on the monotonic clock.
  case firstPacketSent(TransceiverID, at: Instant)
  #if DataChannels
    /// The peer opened a data channel, which may be used (the `datachannel` event of browsers). One that nobody keeps
    /// closes.
    case dataChannelAdded(DataChannel)
  #endif
}

/// The streams between a connection's driver and its application.
///
/// The driver writes from its event loop, the application reads anywhere; every stream is bounded.
final class PeerEvents: Sendable {
  /// Local candidates that may wait to be read: above any number of interfaces.
  static let candidatesMax = 256
  /// Other events that may wait to be read: all data channels that there may be at a time, and others.
  static let eventsMax = 1024 + 64

  let connectionState = ValueStream(PeerConnectionState.new)
  let iceConnectionState = ValueStream(ICEConnectionState.new)
  let iceGatheringState = ValueStream(ICEGatheringState.new)
  let signalingState = ValueStream(SignalingState.stable)
  let candidates: AsyncStream<ICECandidateInit?>
  let events: AsyncStream<PeerConnectionEvent>
  private let candidateSink: AsyncStream<ICECandidateInit?>.Continuation
  private let eventSink: AsyncStream<PeerConnectionEvent>.Continuation
  private let known = Mutex<[Transceiver]>([])

  init() {
    (candidates, candidateSink) = AsyncStream.makeStream(
      of: ICECandidateInit?.self, bufferingPolicy: .bufferingOldest(Self.candidatesMax))
    (events, eventSink) = AsyncStream.makeStream(
      of: PeerConnectionEvent.self, bufferingPolicy: .bufferingNewest(Self.eventsMax))
  }

  var transceivers: [Transceiver] { known.withLock { $0 } }

  func noteTransceiver(_ transceiver: Transceiver) { known.withLock { $0.append(transceiver) } }

  func addCandidate(_ candidate: ICECandidateInit?) { candidateSink.yield(candidate) }

  func add(_ event: PeerConnectionEvent) { eventSink.yield(event) }

  /// Ends the streams and lets the transceivers go: they lead back to the driver, which holds this object.
  func finish() {
    known.withLock { $0 = [] }
    signalingState.finish(with: .closed)
    iceConnectionState.finish(with: .closed)
    iceGatheringState.finish(with: .complete)
    connectionState.finish(with: .closed)
    candidateSink.finish()
    eventSink.finish()
  }
}
