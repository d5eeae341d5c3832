// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  public import SCTP
  public import SansIO

  /// Data channels (W3C WebRTC §6, RFC 8831). Their events come by ``pollEvent()`` among all others.
  extension PeerConnectionCore {
    /// Makes a channel. It may be used when ``Event/dataChannelOpened(_:)`` says so.
    ///
    /// ``Event/negotiationNeeded`` follows where no exchange has agreed on data channels yet. If the peer then refuses
    /// them, the channel is closed.
    public mutating func createDataChannel(
      _ parameters: DataChannelParameters, at now: Instant
    ) throws(DataChannelError) -> DataChannelID {
      guard !isClosed else { throw .notOpen }
      data.prepare(random: &random)
      guard let id = try data.channels?.open(parameters, at: now) else { throw .notOpen }
      data.isWanted = true
      data.channels?.digestEvents(at: now)
      updateNegotiationNeeded()
      return id
    }

    /// Sends a message, whole and in order or as the channel promises. What cannot leave yet waits here; see
    /// ``bufferedAmount(of:)``.
    public mutating func send(
      _ message: DataChannelMessage, on id: DataChannelID, at now: Instant
    ) throws(DataChannelError) {
      guard data.channels != nil else { throw .notOpen }
      try data.channels?.send(message, on: id, at: now)
    }

    /// Closes a channel; what waits on it is sent first. ``Event/dataChannelClosed(_:)`` follows.
    public mutating func closeDataChannel(_ id: DataChannelID, at now: Instant) {
      data.channels?.close(id)
      data.channels?.digestEvents(at: now)
    }

    /// The application has read a message of so many payload bytes.
    ///
    /// Every message of ``Event/messageReceived(_:_:)`` is to be given back so, also one that is thrown away: until then
    /// the peer may send that much less, and at last nothing.
    public mutating func messageConsumed(_ byteCount: Int, at now: Instant) {
      data.channels?.messageConsumed(byteCount)
    }

    /// The application has read so many messages, of so many payload bytes together; see ``messageConsumed(_:at:)``.
    public mutating func messagesConsumed(count: Int, byteCount: Int, at now: Instant) {
      data.channels?.messagesConsumed(count: count, byteCount: byteCount)
    }

    /// Where a channel stands; `closed` for one that is not known (any more).
    public func dataChannelState(of id: DataChannelID) -> DataChannelState {
      data.withChannels { $0.state(of: id) } ?? .closed
    }

    /// The stream that a channel uses; `nil` before it is known, and once the channel is closed.
    public func dataChannelStream(of id: DataChannelID) -> StreamID? {
      data.withChannels { $0.stream(of: id) } ?? nil
    }

    /// What a channel did so far; `nil` once it is closed.
    public func dataChannelStatistics(of id: DataChannelID) -> DataChannelStatistics? {
      data.withChannels { $0.statistics(of: id) } ?? nil
    }

    /// Payload bytes that were handed in on a channel and did not leave yet.
    public func bufferedAmount(of id: DataChannelID) -> Int {
      data.withChannels { $0.bufferedAmount(of: id) } ?? 0
    }

    /// At which ``bufferedAmount(of:)`` ``Event/bufferedAmountLow(_:)`` is told, coming from above; 0 unless set.
    public mutating func setBufferedAmountLowThreshold(_ byteCount: Int, of id: DataChannelID) {
      data.channels?.setBufferedAmountLowThreshold(byteCount, of: id)
    }

    /// The longest message in bytes that the peer takes: `nil` before its description says so, `Int.max` where it takes
    /// any (RFC 8841 §6).
    public var remoteMessageByteCountMax: Int? {
      guard let limit = data.agreement?.remoteMessageByteCountMax else { return nil }
      return limit == 0 ? .max : limit
    }
  }

  extension DataTransport {
    /// Asks the channels something, if there are any.
    func withChannels<Result>(_ body: (borrowing DataChannels) -> Result) -> Result? {
      switch channels {
      case .some(let channels): body(channels)
      case .none: nil
      }
    }

    /// The next thing that happened to the channels, in the connection's words.
    mutating func pollEvent() -> PeerConnectionCore.Event? {
      guard let event = channels?.pollDigestedEvent() else { return nil }
      return switch event {
      case .connected: .sctpConnected
      case .opened(let id): .dataChannelOpened(id)
      case .incoming(let id, let parameters): .dataChannelAdded(id, parameters)
      case .message(let id, let message): .messageReceived(id, message)
      case .closing(let id): .dataChannelClosing(id)
      case .closed(let id): .dataChannelClosed(id)
      case .bufferedAmountLow(let id): .bufferedAmountLow(id)
      case .ended(let closure): .sctpEnded(closure)
      }
    }
  }
#endif
