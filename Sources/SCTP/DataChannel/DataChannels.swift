// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The data channels of one connection (RFC 8831, RFC 8832): the association and what is agreed on its streams.
///
/// A channel is a pair of streams with the same number, one each way. Who is the DTLS client opens channels on
/// even streams, the server on odd ones, so both can open at once. Closing resets the stream in both
/// directions; after that its number serves again.
///
/// A sans-IO core with the same face as ``SCTPAssociation``, which it owns.
public struct DataChannels: ~Copyable {
  /// What the connection's descriptions say and what we bear.
  public struct Configuration: Sendable {
    /// The association below.
    public var association = SCTPAssociation.Configuration()
    /// Channels at a time, both sides' together.
    public var channelCountMax = 1024
    /// Bytes of all labels and protocols together that the peer may make us keep.
    public var nameByteCountMax = 1 << 20
    /// The longest message that the peer takes: `max-message-size`; 65,536 where it said nothing, 0 where it
    /// takes any (RFC 8841 §6).
    public var remoteMessageByteCountMax = 65_536

    /// The values that suit WebRTC.
    public init() {}
  }

  /// What happened.
  public enum Event: Sendable {
    /// The association stands.
    case connected
    /// A channel of ours may be used.
    case opened(DataChannelID)
    /// The peer opened a channel, which may be used.
    case incoming(DataChannelID, DataChannelParameters)
    /// A message arrived.
    case message(DataChannelID, DataChannelMessage)
    /// The peer closes a channel.
    case closing(DataChannelID)
    /// A channel is over.
    case closed(DataChannelID)
    /// What waits on a channel fell to its threshold.
    case bufferedAmountLow(DataChannelID)
    /// The association is over; all channels were told closed before.
    case ended(SCTPAssociation.Closure)
  }

  /// Why something from the peer was dropped.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// A DCEP message that breaks off, or says what it may not.
    case malformed
    /// An OPEN on a stream that is not the peer's to choose, or is in use.
    case wrongStream
    /// One channel, or one byte of names, too many.
    case tooManyChannels
    /// A message for a channel that does not exist.
    case unknownChannel
    /// A message that is neither text nor bytes.
    case unknownPayload
  }

  /// RFC 8831 §8: what a message is.
  enum Payload {
    static let control = PayloadProtocol(rawValue: 50)
    static let text = PayloadProtocol(rawValue: 51)
    static let binary = PayloadProtocol(rawValue: 53)
    static let emptyText = PayloadProtocol(rawValue: 56)
    static let emptyBinary = PayloadProtocol(rawValue: 57)
  }

  /// The association below; for its state, statistics and counters.
  public internal(set) var association: SCTPAssociation
  /// The longest message that the peer takes, 0 for any; set it when its description is known.
  public var remoteMessageByteCountMax: Int
  /// What was dropped, by cause.
  public internal(set) var drops = DropCounters<DropCause>()
  /// Channels that were ever open, as W3C `RTCPeerConnectionStats` counts them.
  public internal(set) var openedCount: UInt64 = 0
  /// Channels that were open and are closed.
  public internal(set) var closedCount: UInt64 = 0

  let configuration: Configuration
  var records: [DataChannelID: DataChannelRecord] = [:]
  var channelOfStream: [StreamID: DataChannelID] = [:]
  /// Streams that belong to no channel and are on their way to be reset.
  var refusedStreams: Set<StreamID> = []
  /// Streams that a peer would not reset: what we sent on them counts on, so they serve no other channel.
  var spentStreams: Set<StreamID> = []
  /// Streams whose channel is over although the peer has not reset its side: they serve no other until it does.
  var halfClosedStreams: Set<StreamID> = []
  /// The channels that wait for the peer's reset, in the order of their deadlines; some may be over.
  var awaitedResets = RingBuffer<AwaitedReset>()
  var nameByteCount = 0
  var events = RingBuffer<Event>()
  private var nextID = 0
  /// Known once the DTLS roles are.
  var isDTLSClient: Bool?
  var isConnected = false

  /// Makes an empty set of channels.
  public init(configuration: Configuration, random: RandomSource) {
    self.configuration = configuration
    remoteMessageByteCountMax = configuration.remoteMessageByteCountMax
    association = SCTPAssociation(configuration: configuration.association, random: random)
  }

  /// Begins the association; both sides may. The DTLS role decides which streams are ours to choose.
  ///
  /// - Parameter remotePort: the `sctp-port` of the peer's description; `nil` for the configuration's.
  public mutating func connect(isDTLSClient: Bool, remotePort: UInt16? = nil, at now: Instant) {
    guard self.isDTLSClient == nil else { return }
    self.isDTLSClient = isDTLSClient
    if let remotePort { association.configuration.remotePort = remotePort }
    association.connect(at: now)
  }

  /// Whether ``connect(isDTLSClient:remotePort:at:)`` was called.
  public var hasBegun: Bool { isDTLSClient != nil }

  /// Whether the association is over, and with it all channels.
  public var isOver: Bool { association.isOver }

  /// Makes room for another association after one that is over, as descriptions may agree on it. Channels get new
  /// numbers; the counts go on.
  public mutating func startOver(random: RandomSource) {
    guard isOver else { return }
    association = SCTPAssociation(configuration: configuration.association, random: random)
    isDTLSClient = nil
    isConnected = false
  }

  /// Makes a channel. It may be used when ``Event/opened(_:)`` says so.
  public mutating func open(
    _ parameters: DataChannelParameters, at now: Instant
  ) throws(DataChannelError) -> DataChannelID {
    guard !association.isOver else { throw .notOpen }
    guard records.count < configuration.channelCountMax else { throw .tooManyChannels }
    guard parameters.label.utf8.count <= Int(UInt16.max),
      parameters.subprotocol.utf8.count <= Int(UInt16.max)
    else { throw .nameTooLong }
    if let stream = parameters.negotiatedStream {
      guard stream.rawValue < association.sendStreamCount, isFree(stream) else { throw .streamUnavailable }
    }
    let id = add(DataChannelRecord(parameters: parameters, state: .connecting))
    if let stream = parameters.negotiatedStream { bind(id, to: stream) }
    if isConnected, !begin(id, at: now) {
      records[id] = nil
      if let stream = parameters.negotiatedStream { channelOfStream[stream] = nil }
      throw .streamUnavailable
    }
    return id
  }

  /// Changes a record in its place; `records[id]?` would allocate memory for each access, which messages should not.
  mutating func change(_ id: DataChannelID, _ body: (inout DataChannelRecord) -> Void) {
    guard let index = records.index(forKey: id) else { return }
    body(&records.values[index])
  }

  mutating func add(_ record: DataChannelRecord) -> DataChannelID {
    let id = DataChannelID(rawValue: nextID)
    nextID += 1
    records[id] = record
    return id
  }

  mutating func bind(_ id: DataChannelID, to stream: StreamID) {
    records[id]?.stream = stream
    channelOfStream[stream] = id
    guard let record = records[id] else { return }
    association.setPriority(record.parameters.priority.rawValue, of: stream)
    association.setBufferedAmountLowThreshold(record.lowThreshold, of: stream)
  }

  func isFree(_ stream: StreamID) -> Bool {
    channelOfStream[stream] == nil && !refusedStreams.contains(stream) && !spentStreams.contains(stream)
      && !halfClosedStreams.contains(stream)
  }

  /// The lowest free stream of our parity (RFC 8832 §6).
  private func freeStream() -> StreamID? {
    guard let isDTLSClient else { return nil }
    let count = min(association.sendStreamCount, association.receiveStreamCount)
    for number in stride(from: isDTLSClient ? 0 : 1, to: Int(count), by: 2) {
      let stream = StreamID(rawValue: UInt16(number))
      if isFree(stream) { return stream }
    }
    return nil
  }

  /// Lets a channel begin now that the association stands: says OPEN where it is not negotiated.
  mutating func begin(_ id: DataChannelID, at now: Instant) -> Bool {
    guard let record = records[id] else { return false }
    if record.parameters.negotiatedStream == nil {
      guard let stream = freeStream() else { return false }
      bind(id, to: stream)
      records[id]?.awaitsAck = true
      association.sendControl(
        DCEPMessage.open(record.parameters).array(), on: stream, payloadProtocol: Payload.control, at: now)
    } else if let stream = record.stream, stream.rawValue >= association.sendStreamCount {
      return false
    }
    records[id]?.state = .open
    openedCount += 1
    events.append(.opened(id))
    return true
  }

  // MARK: What an application asks

  /// Where a channel stands.
  public func state(of id: DataChannelID) -> DataChannelState { records[id]?.state ?? .closed }

  /// The stream that a channel uses, once it is known.
  public func stream(of id: DataChannelID) -> StreamID? { records[id]?.stream }

  /// What a channel did so far; `nil` once it is closed.
  public func statistics(of id: DataChannelID) -> DataChannelStatistics? { records[id]?.statistics }

  /// What a channel promises; `nil` once it is closed.
  public func parameters(of id: DataChannelID) -> DataChannelParameters? { records[id]?.parameters }

  /// The channels that are not closed, in the order in which they were made.
  public var channelIDs: [DataChannelID] { records.keys.sorted { $0.rawValue < $1.rawValue } }

  /// How many channels are not closed.
  public var channelCount: Int { records.count }

  /// Bytes that were handed in on a channel and not sent yet.
  public func bufferedAmount(of id: DataChannelID) -> Int {
    guard let stream = records[id]?.stream else { return 0 }
    return association.bufferedAmount(of: stream)
  }

  /// At which amount ``Event/bufferedAmountLow(_:)`` is told; 0 unless set.
  public mutating func setBufferedAmountLowThreshold(_ byteCount: Int, of id: DataChannelID) {
    records[id]?.lowThreshold = byteCount
    guard let stream = records[id]?.stream else { return }
    association.setBufferedAmountLowThreshold(byteCount, of: stream)
  }

  /// Sends a message.
  public mutating func send(
    _ message: DataChannelMessage, on id: DataChannelID, at now: Instant
  ) throws(DataChannelError) {
    guard let record = records[id], record.state == .open, let stream = record.stream else { throw .notOpen }
    let limit = remoteMessageByteCountMax
    guard limit == 0 || message.bytes.count <= limit else { throw .messageTooLong(limit: limit) }
    // SCTP knows no empty messages: one zero byte stands for nothing (RFC 8831 §6.6).
    let isEmpty = message.bytes.isEmpty
    let kind: PayloadProtocol =
      message.isText
      ? (isEmpty ? Payload.emptyText : Payload.text) : (isEmpty ? Payload.emptyBinary : Payload.binary)
    do throws(SCTPAssociation.SendError) {
      try association.send(
        isEmpty ? [0] : message.bytes, on: stream, payloadProtocol: kind, options: record.options, at: now)
    } catch {
      switch error {
      case .bufferFull: throw .bufferFull
      case .tooLong: throw .messageTooLong(limit: configuration.association.sendBufferByteCountMax)
      case .closed, .empty, .noSuchStream, .isResetting: throw .notOpen
      }
    }
    change(id) {
      $0.statistics.messagesSent += 1
      $0.statistics.bytesSent += UInt64(message.bytes.count)
    }
  }

  /// Closes a channel: what waits is sent, then the stream is reset (RFC 8831 §6.7).
  public mutating func close(_ id: DataChannelID) {
    guard let record = records[id] else { return }
    guard record.state != .connecting, let stream = record.stream else { return forget(id) }
    guard record.state == .open else { return }
    records[id]?.state = .closing
    if association.canResetStreams { return association.resetStreams([stream]) }
    spentStreams.insert(stream)
    forget(id)
  }

  /// A channel is over.
  mutating func forget(_ id: DataChannelID) {
    guard let record = records.removeValue(forKey: id) else { return }
    if let stream = record.stream { channelOfStream[stream] = nil }
    if record.parameters.negotiatedStream == nil, isIncoming(record) {
      nameByteCount -= record.parameters.byteCount
    }
    if record.state != .connecting { closedCount += 1 }
    while let awaited = awaitedResets.first, records[awaited.channel] == nil { awaitedResets.popFirst() }
    events.append(.closed(id))
  }

  /// Whether the peer opened a channel, as its stream's number tells.
  func isIncoming(_ record: DataChannelRecord) -> Bool {
    guard let stream = record.stream, let isDTLSClient else { return false }
    return (stream.rawValue & 1 == 1) == isDTLSClient
  }
}
