// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import RTP
public import SansIO
public import WebRTCCore

/// A whole connection of ours on a host of the simulated network: the core, its sockets, what it reported.
public final class SimulatedPeer {
  /// The connection.
  public var core: PeerConnectionCore
  /// Its sockets.
  public private(set) var sockets: [LocalSocket]
  /// Everything it reported so far, frames and candidates left out.
  public private(set) var events: [PeerConnectionCore.Event] = []
  /// Candidates that wait to be carried to the other side.
  public var trickled: [ICECandidateInit] = []
  /// Frames that arrived.
  public private(set) var frames: [(transceiver: TransceiverID, frame: MediaFrame, arrival: Instant)] = []
  /// How often a key frame was asked for.
  public private(set) var keyFrameRequestCount = 0
  /// When the connection state last became `connected`.
  public private(set) var connectedAt: Instant?

  /// Makes a peer with one socket for each address.
  public init(
    addresses: [TransportAddress], dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    var random = RandomSource(seed: seed)
    var configuration = PeerConnectionCore.Configuration(
      dtls: dtls, certificate: try dtls.makeCertificate(), random: random.split(),
      transactionPrefix: UInt32(truncatingIfNeeded: random.next()),
      wallClockNanosecondsAtZero: 1_700_000_000_000_000_000)
    configure(&configuration)
    core = PeerConnectionCore(configuration: configuration, at: now)
    sockets = addresses.enumerated().map { LocalSocket(id: UInt32($0.offset), address: $0.element) }
    for socket in sockets { core.addLocalSocket(socket, at: now) }
  }

  /// The socket bound to an address.
  public func socket(at address: TransportAddress) -> LocalSocket? { sockets.first { $0.address == address } }

  /// The latest connection state.
  public var connectionState: PeerConnectionState { core.connectionState }

  /// Moves all that the core wants to send to the network and all events to the logs.
  func drain(into network: inout SimulatedNetwork, at now: Instant) {
    var isDone = false
    while !isDone {
      var transmit: Transmit?
      let bytes = [UInt8](writing: 16_000) { out in transmit = core.pollTransmit(into: &out, at: now) }
      guard let transmit else {
        isDone = true
        continue
      }
      for start in stride(from: 0, to: bytes.count, by: transmit.segmentByteCount) {
        let end = min(start + transmit.segmentByteCount, bytes.count)
        network.send(
          Array(bytes[start..<end]), from: transmit.route.socket.address, to: transmit.route.remote, at: now)
      }
    }
    while let event = core.pollEvent() { note(event, at: now) }
  }

  private func note(_ event: PeerConnectionCore.Event, at now: Instant) {
    switch event {
    case .frameReceived(let id, let frame): frames.append((id, frame, now))
    case .localCandidate(let candidate): trickled.append(candidate)
    case .keyFrameRequested:
      keyFrameRequestCount += 1
      events.append(event)
    case .connectionStateChanged(.connected):
      connectedAt = now
      events.append(event)
    default: events.append(event)
    }
  }
}
