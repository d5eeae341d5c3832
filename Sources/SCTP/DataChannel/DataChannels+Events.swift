// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The core's face, passed through, and what the association's events mean for channels.
extension DataChannels {
  /// Takes a packet that DTLS decrypted. One that comes before ``connect(isDTLSClient:at:)`` is ignored: until
  /// the roles are known no channel of the peer's could be judged.
  public mutating func receive(_ packet: RawSpan, at now: Instant) {
    guard isDTLSClient != nil else { return }
    association.receive(packet, at: now)
  }

  /// Does what is due.
  public mutating func handleTimeout(at now: Instant) {
    association.handleTimeout(at: now)
    guard !association.isPathLost else { return }
    while let awaited = awaitedResets.first, awaited.deadline <= now {
      awaitedResets.popFirst()
      guard let stream = records[awaited.channel]?.stream else { continue }
      halfClosedStreams.insert(stream)
      forget(awaited.channel)
    }
  }

  /// When ``handleTimeout(at:)`` wants to be called.
  public var nextDeadline: Instant? {
    guard !association.isPathLost else { return nil }
    return Instant.earliest(association.nextDeadline, awaitedResets.first?.deadline)
  }

  /// Writes packets; see ``SCTPAssociation/pollTransmit(into:at:)``. Poll events first: they lead to packets.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> PacketBatch? {
    association.pollTransmit(into: &output, at: now)
  }

  /// Ends the association with everything delivered.
  public mutating func shutdown(at now: Instant) { association.shutdown(at: now) }

  /// The next thing that happened. Messages that the application has not read, whether polled or not, hold the peer's
  /// window shut; see ``messageConsumed(_:)``.
  public mutating func pollEvent(at now: Instant) -> Event? {
    digestEvents(at: now)
    return events.popFirst()
  }

  /// Draws the consequences of what the association has to say. Call it before ``pollTransmit(into:at:)`` where events
  /// are polled by ``pollDigestedEvent()``: they lead to packets.
  public mutating func digestEvents(at now: Instant) {
    while let event = association.pollEvent() { translate(event, at: now) }
  }

  /// The next thing of those that ``digestEvents(at:)`` made out.
  public mutating func pollDigestedEvent() -> Event? { events.popFirst() }

  /// The application has read a message with so many payload bytes: the peer may send as much again.
  public mutating func messageConsumed(_ byteCount: Int) {
    consumed(byteCount: byteCount + SCTPLimits.entryByteCount)
  }

  /// The application has read so many messages, of so many payload bytes together.
  public mutating func messagesConsumed(count: Int, byteCount: Int) {
    consumed(byteCount: byteCount + count * SCTPLimits.entryByteCount)
  }

  /// Gives back what messages weighed, each its payload bytes and ``SCTPLimits/entryByteCount``.
  public mutating func consumed(byteCount: Int) { association.consumed(byteCount: byteCount) }

  /// There is no path; see ``SCTPAssociation/pathLost()``.
  public mutating func pathLost() { association.pathLost() }

  /// There is a path again, or another one; see ``SCTPAssociation/pathFound(at:)``.
  public mutating func pathFound(at now: Instant) { association.pathFound(at: now) }

  /// Ends the association at once, and tells the peer so.
  public mutating func abort() { association.abort() }

  private mutating func translate(_ event: SCTPAssociation.Event, at now: Instant) {
    switch event {
    case .connected:
      isConnected = true
      events.append(.connected)
      for id in records.keys.sorted(by: { $0.rawValue < $1.rawValue }) where !begin(id, at: now) {
        forget(id)
      }
    case .message(let message): take(message, at: now)
    case .incomingStreamsReset(let streams):
      if streams.isEmpty { halfClosedStreams = [] }
      for stream in streams.isEmpty ? Array(channelOfStream.keys) : streams { peerReset(stream) }
    case .outgoingStreamsReset(let streams, let isPerformed):
      for stream in streams { weReset(stream, isPerformed: isPerformed, at: now) }
    case .bufferedAmountLow(let stream):
      if let id = channelOfStream[stream] { events.append(.bufferedAmountLow(id)) }
    case .restarted: forgetAll()
    case .closed(let closure):
      forgetAll()
      events.append(.ended(closure))
    }
  }

  private mutating func forgetAll() {
    for id in records.keys.sorted(by: { $0.rawValue < $1.rawValue }) { forget(id) }
    refusedStreams = []
    spentStreams = []
    halfClosedStreams = []
  }

  // MARK: Messages

  private mutating func take(_ message: SCTPAssociation.Message, at now: Instant) {
    guard message.payloadProtocol != Payload.control else {
      messageConsumed(message.bytes.count)
      return control(message, at: now)
    }
    guard let id = channelOfStream[message.stream], let state = records[id]?.state,
      state == .open || state == .closing
    else { return drop(message, .unknownChannel) }
    let content: DataChannelMessage
    switch message.payloadProtocol {
    case Payload.text: content = DataChannelMessage(isText: true, bytes: message.bytes)
    case Payload.binary: content = DataChannelMessage(message.bytes)
    case Payload.emptyText: content = DataChannelMessage(isText: true, bytes: [])
    case Payload.emptyBinary: content = DataChannelMessage([])
    default: return drop(message, .unknownPayload)
    }
    // The bytes that stand for an empty message are none that the application could give back.
    if content.bytes.isEmpty { consumed(byteCount: message.bytes.count) }
    change(id) {
      $0.awaitsAck = false
      $0.statistics.messagesReceived += 1
      $0.statistics.bytesReceived += UInt64(content.bytes.count)
    }
    events.append(.message(id, content))
  }

  /// Nobody will read a message.
  private mutating func drop(_ message: SCTPAssociation.Message, _ cause: DropCause) {
    drops[cause] += 1
    messageConsumed(message.bytes.count)
  }

  /// OPEN and ACK (RFC 8832 §6).
  private mutating func control(_ message: SCTPAssociation.Message, at now: Instant) {
    let bytes = message.bytes.rawSpan
    var reader = ByteReader(bytes)
    do throws(ParseError) {
      switch try DCEPMessage(parsing: &reader) {
      case .ack:
        if let id = channelOfStream[message.stream] {
          records[id]?.awaitsAck = false
        } else {
          drops[.unknownChannel] += 1
        }
      case .open(let parameters): accept(parameters, on: message.stream, at: now)
      }
    } catch {
      drops[.malformed] += 1
      refuse(message.stream)
    }
  }

  /// The peer opens a channel: on a stream of its own parity, which is free, within our limits.
  private mutating func accept(
    _ parameters: DataChannelParameters, on stream: StreamID, at now: Instant
  ) {
    endPredecessor(on: stream, at: now)
    guard let isDTLSClient, (stream.rawValue & 1 == 1) == isDTLSClient, isFree(stream),
      stream.rawValue < association.sendStreamCount
    else {
      drops[.wrongStream] += 1
      return refuse(stream)
    }
    guard records.count < configuration.channelCountMax,
      nameByteCount + parameters.byteCount <= configuration.nameByteCountMax
    else {
      drops[.tooManyChannels] += 1
      return refuse(stream)
    }
    let id = add(DataChannelRecord(parameters: parameters, state: .open))
    bind(id, to: stream)
    nameByteCount += parameters.byteCount
    openedCount += 1
    association.sendControl(
      DCEPMessage.ack.array(), on: stream, payloadProtocol: Payload.control, at: now)
    events.append(.incoming(id, parameters))
  }

  /// A channel is opened on a stream that ours is not quite done with: the peer closed the channel that was
  /// there, did our reset too, and only its word of that is missing.
  private mutating func endPredecessor(on stream: StreamID, at now: Instant) {
    let isReset = channelOfStream[stream].flatMap { records[$0]?.isIncomingReset } ?? false
    let isAsked = association.resets.request?.streams.contains(stream) == true
    guard isReset && isAsked || isAsked && refusedStreams.contains(stream) || spentStreams.contains(stream)
    else { return }
    for stream in association.assumeResetPerformed(of: stream) {
      weReset(stream, isPerformed: true, at: now)
    }
  }

  /// Closes the stream of a channel that we do not want; one that is in use is left alone.
  private mutating func refuse(_ stream: StreamID) {
    guard isFree(stream), stream.rawValue < association.sendStreamCount, association.canResetStreams
    else { return }
    refusedStreams.insert(stream)
    association.resetStreams([stream])
  }

  // MARK: Closing

  /// The peer closed its side: drop what waits and close ours.
  private mutating func peerReset(_ stream: StreamID) {
    halfClosedStreams.remove(stream)
    guard let id = channelOfStream[stream] else { return }
    records[id]?.isIncomingReset = true
    if records[id]?.state == .open {
      records[id]?.state = .closing
      events.append(.closing(id))
      association.discardUnsent(on: stream)
      association.resetStreams([stream])
    }
    closeIfDone(id)
  }

  private mutating func weReset(_ stream: StreamID, isPerformed: Bool, at now: Instant) {
    refusedStreams.remove(stream)
    if isPerformed { spentStreams.remove(stream) } else { spentStreams.insert(stream) }
    guard let id = channelOfStream[stream] else { return }
    records[id]?.isOutgoingReset = true
    // A peer that will not reset will not answer with a reset of its own either.
    if !isPerformed { records[id]?.isIncomingReset = true }
    closeIfDone(id)
    guard records[id] != nil else { return }
    awaitedResets.append(AwaitedReset(channel: id, deadline: now + SCTPLimits.peerResetMax))
  }

  private mutating func closeIfDone(_ id: DataChannelID) {
    guard let record = records[id], record.isIncomingReset, record.isOutgoingReset else { return }
    forget(id)
  }
}
