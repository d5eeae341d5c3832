// SPDX-License-Identifier: Apache-2.0

import DTLS
import SDP
import SansIO

/// What the descriptions agree on for data channels (RFC 8841).
struct DataAgreement: Hashable {
  /// The peer's `sctp-port`.
  let remotePort: UInt16
  /// The longest message that the peer takes, in bytes; 0 for any.
  let remoteMessageByteCountMax: Int

  /// What an exchange of descriptions says; `nil` where they agree on no channels. Port 0 is none (RFC 8841 §5.2).
  init?(_ session: NegotiatedSession) {
    guard let port = session.remoteSCTPPort, port != 0, let size = session.remoteMaxMessageSize else {
      return nil
    }
    remotePort = port
    remoteMessageByteCountMax = Int(clamping: size)
  }
}

#if DataChannels
  import SCTP

  /// What lies between DTLS and the data channels: packets on their way in and out (RFC 8261), and when the association
  /// begins, pauses and ends.
  ///
  /// ```
  ///   PeerConnectionCore     createDataChannel, send, events
  ///            ^ v
  ///      DataChannels        made when descriptions or the application first want it
  ///            ^ v           packets, one after the other through the same memory
  ///     DTLSTransport        a record, and so a datagram, for each packet
  /// ```
  struct DataTransport: ~Copyable {
    /// Whether there are data channels at all: the trait `DataChannels`.
    static let isAvailable = true
    /// Bytes of a packet at most: what DTLS 1.2 with AES-GCM leaves of 1,200, cut to a multiple of 4.
    static let packetByteCountMax = 1160
    /// Bytes of a datagram at most.
    static let datagramByteCountMax = 1200
    /// Datagrams in one burst: what the kernel takes in one call, which is 64 segments of 65,507 bytes together.
    static let burstPacketsMax = 48

    let configuration: DataChannels.Configuration
    /// `nil` until somebody wants channels: most connections carry media only.
    var channels: DataChannels?
    /// Whether the application made a channel, which the next offer has to speak of.
    var isWanted = false
    /// What was agreed on; `nil` while nothing is.
    private(set) var agreement: DataAgreement?
    private var memory: PacketMemory?
    /// The route that packets take; `nil` while there is none that answers.
    private var route: Route?

    init(configuration: DataChannels.Configuration) {
      var configuration = configuration
      configuration.association.localPort = Negotiation.defaultSCTPPort
      configuration.association.packetByteCountMax = min(
        configuration.association.packetByteCountMax, Self.packetByteCountMax)
      self.configuration = configuration
      channels = nil
    }

    /// Whether the descriptions in force lack an application section that our next offer needs.
    var needsNegotiation: Bool { isWanted && agreement == nil }

    /// The longest message that we take, for our descriptions.
    var messageByteCountMax: UInt64 { UInt64(clamping: configuration.association.messageByteCountMax) }

    // MARK: What descriptions say

    /// Makes the channels' core, or makes it new after an association that is over and was not agreed on again.
    mutating func prepare(random: inout RandomSource) {
      if channels == nil {
        channels = DataChannels(configuration: configuration, random: random.split())
        memory = PacketMemory()
      } else if agreement == nil, channels?.isOver == true {
        channels?.startOver(random: random.split())
      }
    }

    /// Follows an exchange of descriptions.
    ///
    /// - Parameter isOffered: whether it had an application section. Where one was refused, the channels that wait are
    ///   closed: they would never open, and one offer would follow the other.
    mutating func follow(
      _ agreement: DataAgreement?, isOffered: Bool, random: inout RandomSource, at now: Instant
    ) {
      if let agreement {
        prepare(random: &random)
        channels?.remoteMessageByteCountMax = agreement.remoteMessageByteCountMax
      } else if isOffered || self.agreement != nil {
        isWanted = false
        channels?.abort()
        channels?.digestEvents(at: now)
      }
      self.agreement = agreement
    }

    // MARK: What lies below

    /// Begins the association once DTLS stands, and lets it pause while there is no path.
    mutating func follow(_ role: DTLSRole?, on route: Route?, at now: Instant) {
      guard let agreement, let role else { return }
      if channels?.hasBegun == false {
        channels?.connect(isDTLSClient: role == .client, remotePort: agreement.remotePort, at: now)
        if route == nil { channels?.pathLost() }
      } else if route != self.route {
        if route == nil { channels?.pathLost() } else { channels?.pathFound(at: now) }
      }
      self.route = route
      channels?.digestEvents(at: now)
    }

    /// Gives a datagram to DTLS, and what it decrypts to straight to the channels.
    mutating func receive(_ datagram: RawSpan, through dtls: inout DTLSTransport?, at now: Instant) {
      guard agreement != nil, let memory, datagram.byteCount <= PacketMemory.byteCount else {
        dtls?.receive(datagram, at: now)
        return
      }
      let lent = unsafe memory.bytes
      var packet = unsafe OutputRawSpan(buffer: lent, initializedCount: 0)
      dtls?.receive(datagram, into: &packet, at: now)
      if packet.byteCount > 0 { channels?.receive(packet.bytes, at: now) }
      _ = unsafe packet.finalize(for: lent)
    }

    /// Takes the packets that DTLS queued: those that came with the end of the handshake, and any others that have no way
    /// past the queue. Returns how many there were that no exchange has agreed on.
    mutating func takeQueued(from dtls: inout DTLSTransport?, at now: Instant) -> UInt64 {
      var strangers: UInt64 = 0
      while let byteCount = dtls?.nextApplicationDataByteCount {
        let packet = [UInt8](writing: byteCount) { _ = dtls?.pollApplicationData(into: &$0) }
        if agreement == nil { strangers += 1 } else { channels?.receive(packet.rawSpan, at: now) }
      }
      channels?.digestEvents(at: now)
      return strangers
    }

    /// Writes a burst of datagrams of equal length, of which the last may be shorter.
    mutating func pollTransmit(
      through dtls: inout DTLSTransport?, into out: inout OutputRawSpan, at now: Instant
    ) -> (segmentByteCount: Int, segmentCount: Int)? {
      guard channels != nil, route != nil, let memory else { return nil }
      let fullByteCount = configuration.association.packetByteCountMax
      let lent = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<fullByteCount])
      var (segmentByteCount, segmentCount, isFull) = (0, 0, true)
      while isFull, segmentCount < Self.burstPacketsMax, out.freeCapacity >= Self.datagramByteCountMax {
        // There is room for one packet, so one is what it writes.
        var packet = unsafe OutputRawSpan(buffer: lent, initializedCount: 0)
        guard channels?.pollTransmit(into: &packet, at: now) != nil else { break }
        isFull = packet.byteCount == fullByteCount
        let start = out.byteCount
        // What cannot be encrypted is lost, as on the way.
        guard (try? dtls?.seal(packet.bytes, into: &out, at: now)) != nil else { break }
        if segmentCount == 0 { segmentByteCount = out.byteCount - start }
        segmentCount += 1
      }
      return segmentCount == 0 ? nil : (segmentByteCount, segmentCount)
    }

    // MARK: Time and end

    var nextDeadline: Instant? {
      switch channels {
      case .some(let channels): channels.nextDeadline
      case .none: nil
      }
    }

    mutating func handleTimeout(at now: Instant) {
      channels?.handleTimeout(at: now)
      channels?.digestEvents(at: now)
    }

    /// Ends all channels, and tells the peer so if DTLS still can: our last packet waits in its queue then.
    mutating func close(through dtls: inout DTLSTransport?, at now: Instant) {
      channels?.abort()
      channels?.digestEvents(at: now)
      agreement = nil
      isWanted = false
      guard let memory else { return }
      let lent = unsafe UnsafeMutableRawBufferPointer(
        rebasing: memory.bytes[..<configuration.association.packetByteCountMax])
      while true {
        var packet = unsafe OutputRawSpan(buffer: lent, initializedCount: 0)
        guard channels?.pollTransmit(into: &packet, at: now) != nil else { return }
        try? dtls?.send(packet.bytes, at: now)
      }
    }
  }

  /// Room for one packet between SCTP and DTLS, the same for all of a connection's.
  @safe private final class PacketMemory {
    /// Chromium's datagrams have 1,228 bytes, and no path in use carries more than 1,500. Longer ones go through DTLS'
    /// queue.
    static let byteCount = 2048

    let bytes: UnsafeMutableRawBufferPointer

    init() { unsafe bytes = .allocate(byteCount: Self.byteCount, alignment: 8) }

    deinit { unsafe bytes.deallocate() }
  }
#else
  /// Nothing: offers of data channels are refused, and what comes all the same is counted.
  struct DataTransport: ~Copyable {
    static let isAvailable = false
    var needsNegotiation: Bool { false }
    var isWanted: Bool { false }
    var messageByteCountMax: UInt64 { 0 }
    var nextDeadline: Instant? { nil }

    mutating func follow(
      _ agreement: DataAgreement?, isOffered: Bool, random: inout RandomSource, at now: Instant
    ) {}

    mutating func follow(_ role: DTLSRole?, on route: Route?, at now: Instant) {}

    mutating func receive(_ datagram: RawSpan, through dtls: inout DTLSTransport?, at now: Instant) {
      dtls?.receive(datagram, at: now)
    }

    mutating func takeQueued(from dtls: inout DTLSTransport?, at now: Instant) -> UInt64 {
      var strangers: UInt64 = 0
      while let byteCount = dtls?.nextApplicationDataByteCount {
        _ = [UInt8](writing: byteCount) { _ = dtls?.pollApplicationData(into: &$0) }
        strangers += 1
      }
      return strangers
    }

    mutating func pollTransmit(
      through dtls: inout DTLSTransport?, into out: inout OutputRawSpan, at now: Instant
    ) -> (segmentByteCount: Int, segmentCount: Int)? { nil }

    mutating func handleTimeout(at now: Instant) {}

    mutating func close(through dtls: inout DTLSTransport?, at now: Instant) {}
  }
#endif
