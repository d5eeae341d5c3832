// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  public import SCTP
  import Synchronization

  /// A way for messages between two peers, beside media: text or bytes, ordered and reliable or not (W3C WebRTC
  /// §6.2, RTCDataChannel; RFC 8831).
  ///
  /// One side makes it with ``PeerConnection/createDataChannel(_:)-(String)``, the other finds it among
  /// ``PeerConnection/events``:
  ///
  /// ```swift
  /// let channel = try await connection.createDataChannel("chat")
  /// try await channel.waitUntilOpen()
  /// try await channel.send("hello")
  /// for await message in channel.messages { print(message.text ?? "\(message.bytes.count) bytes") }
  ///
  /// // the other side: everything goes back
  /// for await case .dataChannelAdded(let channel) in connection.events {
  ///   Task { for await message in channel.messages { try await channel.send(message) } }
  /// }
  /// ```
  ///
  /// **Sending** waits when more than ``highWaterMark`` bytes are on their way already, so a loop that sends a file
  /// runs as quickly as the path takes it. **Receiving** drops nothing: what is not read holds the peer back. All
  /// channels of a connection share one window for that; a channel that nobody reads, once enough came on it, stops
  /// them all. So read each channel, ``close()`` it, or let it go.
  ///
  /// All members may be used from any task at any time. A channel ends with its connection. One that is released
  /// without ``close()`` closes by itself; who iterates ``messages`` holds it. It does not hold the connection.
  public final class DataChannel: Sendable {
    let link: ChannelLink
    private let mailbox: ChannelMailbox
    private let handle: ConnectionHandle

    init(_ link: ChannelLink, mailbox: ChannelMailbox, of handle: ConnectionHandle) {
      self.link = link
      self.mailbox = mailbox
      self.handle = handle
    }

    deinit {
      giveBack(link.inbox.abandon())
      if link.outbox.close() { notify() }
    }

    // MARK: What was agreed on

    /// A name; need not be unique.
    public var label: String { link.parameters.label }
    /// The name of a protocol that the applications speak; empty for none.
    public var subprotocol: String { link.parameters.subprotocol }
    /// Whether messages arrive in order.
    public var isOrdered: Bool { link.parameters.isOrdered }
    /// What becomes of messages that get lost.
    public var reliability: DataChannelParameters.Reliability { link.parameters.reliability }
    /// How important the channel is beside others.
    public var priority: DataChannelParameters.Priority { link.parameters.priority }
    /// Whether both applications made it by themselves, with the same stream, instead of telling each other.
    public var isNegotiated: Bool { link.parameters.negotiatedStream != nil }
    /// The number of its stream, which both sides know; `nil` before it is open, unless negotiated.
    public var streamID: UInt16? {
      (link.stream.withLock { $0 } ?? link.parameters.negotiatedStream)?.rawValue
    }

    // MARK: States

    /// Where it stands.
    public var state: DataChannelState { link.outbox.states.current }
    /// The present state and all later ones; a stream of its own for each use. It ends with `closed`.
    public var states: AsyncStream<DataChannelState> { link.outbox.states.changes }

    /// Returns when messages may be sent: the connection stands.
    ///
    /// - Throws: ``DataChannelError/notOpen`` when it closed instead, ``DataChannelError/cancelled``.
    public func waitUntilOpen() async throws(DataChannelError) {
      for await state in states {
        switch state {
        case .connecting: continue
        case .open: return
        case .closing, .closed: throw .notOpen
        }
      }
      throw .cancelled
    }

    /// Closes it. What was sent before is delivered first, as far as the channel is reliable; senders that wait get
    /// ``DataChannelError/notOpen``, and messages of the peer that are under way are lost.
    ///
    /// Returns when it is closed on both sides, the connection has ended or the task is cancelled; the closing goes
    /// on in any case.
    public func close() async {
      giveBack(link.inbox.stopTaking())
      if link.outbox.close() { notify() }
      for await _ in states {}
    }

    // MARK: Sending

    /// Bytes of accepted messages that were not sent yet.
    public var bufferedAmount: Int { link.outbox.bufferedAmount }

    /// When more bytes than this wait, ``send(_:)-(DataChannelMessage)`` waits until half of it is left. 1 MiB unless
    /// set. A higher one helps on paths that are both fast and long, a lower one keeps what is sent fresh.
    public var highWaterMark: Int {
      get { link.outbox.highWaterMark }
      set { link.outbox.highWaterMark = newValue }
    }

    /// When ``bufferedAmount`` falls to this many bytes, ``bufferedAmountLow`` tells; 0 unless set.
    public var bufferedAmountLowThreshold: Int {
      get { link.outbox.lowThreshold }
      set { link.outbox.lowThreshold = newValue }
    }

    /// ``bufferedAmount`` fell to ``bufferedAmountLowThreshold``; several times that were not read yet are one. For
    /// one reader.
    public var bufferedAmountLow: AsyncStream<Void> { link.outbox.bufferedAmountLow }

    /// Bytes of the longest message that can be sent; `nil` before the peer's description is known.
    public var messageByteCountMax: Int? {
      let limit = mailbox.messageByteCountMax.load(ordering: .relaxed)
      return limit == .max ? nil : limit
    }

    /// Sends a message; waits as long as more than ``highWaterMark`` bytes wait. Senders that wait are served in
    /// order. When it returns, the message is on its way, not yet at the peer.
    ///
    /// - Throws: ``DataChannelError/notOpen`` before it is open and when it closes,
    ///   ``DataChannelError/messageTooLong(limit:)``, ``DataChannelError/cancelled`` when the task was cancelled
    ///   while it waited: then the message was not sent.
    public func send(_ message: DataChannelMessage) async throws(DataChannelError) {
      if try offer(message) { return }
      let failure = await link.outbox.wait(toSend: message, notify: notify)
      if let failure { throw failure }
    }

    /// Sends a message of text; see ``send(_:)-(DataChannelMessage)``.
    public func send(_ text: String) async throws(DataChannelError) {
      try await send(DataChannelMessage(text: text))
    }

    /// Sends a message of bytes; see ``send(_:)-(DataChannelMessage)``.
    public func send(_ bytes: [UInt8]) async throws(DataChannelError) {
      try await send(DataChannelMessage(bytes))
    }

    /// Sends a message if that is possible without waiting.
    ///
    /// - Throws: ``DataChannelError/bufferFull`` where ``send(_:)-(DataChannelMessage)`` would wait,
    ///   ``DataChannelError/notOpen``, ``DataChannelError/messageTooLong(limit:)``.
    public func trySend(_ message: DataChannelMessage) throws(DataChannelError) {
      guard try offer(message) else { throw .bufferFull }
    }

    private func offer(_ message: DataChannelMessage) throws(DataChannelError) -> Bool {
      let limit = mailbox.messageByteCountMax.load(ordering: .relaxed)
      guard message.bytes.count <= limit else {
        throw state == .open ? .messageTooLong(limit: limit) : .notOpen
      }
      switch link.outbox.offer(message) {
      case .accepted(let needsNotice):
        if needsNotice { notify() }
        return true
      case .full: return false
      case .refused(let error): throw error
      }
    }

    // MARK: Receiving

    /// The messages of the peer, each once; for one reader. It ends when the channel is closed and all is read, or
    /// when the reading task is cancelled: then what is left and what still comes is thrown away.
    public var messages: Messages { Messages(channel: self) }

    /// The messages that arrive on a channel.
    public struct Messages: AsyncSequence, Sendable {
      let channel: DataChannel

      /// Reads them.
      public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(channel: channel) }

      /// Where reading stands.
      public struct AsyncIterator: AsyncIteratorProtocol {
        let channel: DataChannel

        /// The next message; waits for it. `nil` at the end.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> DataChannelMessage? {
          await channel.nextMessage()
        }
      }
    }

    private func nextMessage() async -> DataChannelMessage? {
      var taken = Task.isCancelled ? nil : link.inbox.take()
      if taken == nil {
        taken = await withTaskCancellationHandler {
          await link.inbox.next()
        } onCancel: {
          giveBack(link.inbox.abandon())
        }
      }
      guard let taken else { return nil }
      if taken.isCharged { giveBack(ReadMessages(count: 1, byteCount: taken.message.bytes.count)) }
      return taken.message
    }

    // MARK: Statistics

    /// What it did so far; the same figures as in ``PeerConnection/statistics()``.
    ///
    /// - Throws: ``DataChannelError/notOpen`` when it is closed.
    public func statistics() async throws(DataChannelError) -> DataChannelStatistics {
      let id = link.id
      return try await handle.perform(orThrow: .notOpen) { driver, _ throws(DataChannelError) in
        guard let statistics = driver.core.dataChannelStatistics(of: id) else { throw .notOpen }
        return statistics
      }
    }

    // MARK: To the event loop

    /// Tells the loop that there is something to take.
    private func notify() {
      if mailbox.add(link.id) { callLoop() }
    }

    /// Lets the peer send as much again.
    private func giveBack(_ read: ReadMessages) {
      if read.count > 0, mailbox.add(read) { callLoop() }
    }

    /// One turn: it begins with the mail.
    private func callLoop() { handle.post { _, _ in } }
  }

  extension PeerConnection {
    /// Makes a reliable and ordered data channel; see ``createDataChannel(_:)-(DataChannelParameters)``.
    public func createDataChannel(_ label: String) async throws(DataChannelError) -> DataChannel {
      try await createDataChannel(DataChannelParameters(label: label))
    }

    /// Makes a data channel. It opens when the connection stands, and when that was agreed on with the peer:
    /// ``PeerConnectionEvent/negotiationNeeded`` asks for an offer if need be.
    ///
    /// - Throws: ``DataChannelError/tooManyChannels``, ``DataChannelError/nameTooLong``,
    ///   ``DataChannelError/streamUnavailable``; ``DataChannelError/notOpen`` when the connection is over.
    public func createDataChannel(
      _ parameters: DataChannelParameters
    ) async throws(DataChannelError) -> DataChannel {
      try await handle.perform(orThrow: .notOpen) { driver, now throws(DataChannelError) in
        try driver.createDataChannel(parameters, at: now)
      }
    }
  }
#endif
