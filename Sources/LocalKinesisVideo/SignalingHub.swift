// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo
public import SansIO

/// The signaling side of the stand-in: which masters and viewers are connected to which channel, and who gets what.
///
/// A value without sockets or clock. It decides by the service's delivery rules: a viewer's frames go to the master
/// alone, a master's to the viewer it names, what cannot be delivered waits for the channel's time to live, a second
/// connection of the same role takes the first one's place. Effects are collected in order; whoever drives the hub
/// carries them out after every call.
public struct SignalingHub: Sendable {
  /// The service's quotas; all can be scaled for tests.
  public struct Configuration: Sendable {
    /// Viewers of one channel at a time.
    public var viewersMax = 10
    /// Offers and answers of one WebSocket in a second.
    public var descriptionsPerSecond = 5
    /// Candidates of one WebSocket in a second.
    public var candidatesPerSecond = 20
    /// Connects of one role and channel in a second; the service allows 3, the stand-in does not count by default, so
    /// that ten pages can be opened at once.
    public var connectsPerSecond: Int?
    /// Longest `messagePayload`, in characters of base64 text.
    public var payloadCharactersMax = SignalingMessage.payloadCharactersMax
    /// A connection without a frame in either direction ends after this time.
    public var idleTimeout = TimeDelta.seconds(600)
    /// A connection ends after this time.
    public var connectionLifetime = TimeDelta.seconds(3600)
    /// How long before its end a connection is told to go away.
    public var goAwayGrace = TimeDelta.seconds(60)
    /// Useless frames of one connection before it is closed: far above what a client with a fault sends by mistake.
    public var faultsMax = 1000
    /// Bytes of undelivered messages of all channels together.
    public var heldBytesMax = 64 << 20

    /// The service's values.
    public init() {}
  }

  /// What whoever drives the hub has to do.
  public enum Effect: Sendable, Hashable {
    /// Send a text message.
    case send(SignalingConnectionID, frame: String)
    /// Close a WebSocket; the hub has forgotten it already.
    case close(SignalingConnectionID, SignalingCloseCode, reason: String)
  }

  /// Why something did not reach anybody.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// No JSON object of the expected shape.
    case malformedFrame
    /// An action that is none of the three.
    case unknownAction
    /// A correlation id that cannot be answered, or a recipient of no viewer's form.
    case malformedIdentifier
    /// A payload that is missing or holds other characters than base64.
    case malformedPayload
    /// A payload above the limit.
    case payloadTooLong
    /// A master's frame that names no viewer.
    case malformedRecipient
    /// More frames a second than allowed.
    case rateExceeded
    /// Too much waits for absent recipients already.
    case heldFull
    /// A message whose recipient did not come in time.
    case expired
    /// A description that its sender replaced before it was delivered.
    case replaced
    /// A binary message.
    case binaryMessage
  }

  private struct Channel: Sendable {
    var messageTimeToLive: TimeDelta
    var master: SignalingConnectionID?
    var viewers: [String: SignalingConnectionID] = [:]
    var held = HeldMessages()
    var masterConnects: TokenBucket?
    var viewerConnects: TokenBucket?

    var isEmpty: Bool { master == nil && viewers.isEmpty && held.isEmpty }
  }

  private let configuration: Configuration
  private var connections: [SignalingConnectionID: SignalingConnection] = [:]
  private var channels: [String: Channel] = [:]
  private var lastConnection: UInt64 = 0
  /// Filled by one call, emptied by `pollEffect` after it: no more than that call can cause.
  private var effects: [Effect] = []
  private var effectsHead = 0
  /// What was dropped, by cause.
  public private(set) var drops = DropCounters<DropCause>()

  /// Makes a hub without connections.
  public init(configuration: Configuration = Configuration()) { self.configuration = configuration }

  // MARK: connections

  /// How many WebSockets are connected.
  public var connectionCount: Int { connections.count }

  /// Who is connected to a channel.
  public func presence(ofChannel arn: String) -> (hasMaster: Bool, viewerCount: Int) {
    guard let channel = channels[arn] else { return (false, 0) }
    return (channel.master != nil, channel.viewers.count)
  }

  /// Registers a WebSocket whose signature, parameters and channel have been checked, and delivers what waits for it.
  ///
  /// A connection of the same role, and for viewers the same id, loses its place and is closed.
  public mutating func connect(
    _ role: SignalingRole, channelARN: String, messageTTLSeconds: Int, at now: Instant
  ) throws(KinesisVideoError) -> SignalingConnectionID {
    let timeToLive = TimeDelta.seconds(Int64(messageTTLSeconds))
    var channel = channels[channelARN] ?? Channel(messageTimeToLive: timeToLive)
    channel.messageTimeToLive = timeToLive
    try admit(role, to: &channel, at: now)
    lastConnection += 1
    let id = SignalingConnectionID(rawValue: lastConnection)
    let replaced: SignalingConnectionID?
    let recipient: HeldMessages.Recipient
    switch role {
    case .master:
      (replaced, recipient) = (channel.master, .master)
      channel.master = id
    case .viewer(let clientID):
      (replaced, recipient) = (channel.viewers[clientID], .viewer(clientID: clientID))
      channel.viewers[clientID] = id
    }
    connections[id] = SignalingConnection(
      role: role, channelARN: channelARN, lastActivity: now,
      goAwayDeadline: now + configuration.connectionLifetime - configuration.goAwayGrace,
      endDeadline: now + configuration.connectionLifetime,
      descriptionRate: TokenBucket(perSecond: configuration.descriptionsPerSecond, at: now),
      candidateRate: TokenBucket(perSecond: configuration.candidatesPerSecond, at: now))
    for message in channel.held.take(for: recipient, at: now) {
      effects.append(.send(id, frame: message.frame))
    }
    channels[channelARN] = channel
    if let replaced {
      connections[replaced] = nil
      effects.append(.close(replaced, .goingAway, reason: "Another connection took this one's place"))
    }
    return id
  }

  private func admit(
    _ role: SignalingRole, to channel: inout Channel, at now: Instant
  ) throws(KinesisVideoError) {
    if let rate = configuration.connectsPerSecond {
      let isAdmitted: Bool
      switch role {
      case .master: isAdmitted = Self.take(from: &channel.masterConnects, perSecond: rate, at: now)
      case .viewer: isAdmitted = Self.take(from: &channel.viewerConnects, perSecond: rate, at: now)
      }
      guard isAdmitted else {
        throw KinesisVideoError(.clientLimitExceeded, "Too many connects to this channel in a second.")
      }
    }
    if case .viewer(let clientID) = role, channel.viewers[clientID] == nil,
      channel.viewers.count >= configuration.viewersMax
    {
      throw KinesisVideoError(
        .clientLimitExceeded, "The channel has \(configuration.viewersMax) viewers, which is the limit.")
    }
  }

  private static func take(from bucket: inout TokenBucket?, perSecond rate: Int, at now: Instant) -> Bool {
    var tokens = bucket ?? TokenBucket(perSecond: rate, at: now)
    defer { bucket = tokens }
    return tokens.take(at: now)
  }

  /// Forgets a WebSocket that has closed.
  public mutating func disconnect(_ id: SignalingConnectionID) {
    guard let connection = connections.removeValue(forKey: id) else { return }
    withChannel(connection.channelARN) { channel in
      switch connection.role {
      case .master where channel.master == id: channel.master = nil
      case .viewer(let clientID) where channel.viewers[clientID] == id: channel.viewers[clientID] = nil
      default: break
      }
    }
  }

  /// Takes over a channel's changed time to live; messages that wait already keep theirs.
  public mutating func setMessageTTL(seconds: Int, ofChannel arn: String) {
    channels[arn]?.messageTimeToLive = .seconds(Int64(seconds))
  }

  /// Closes a deleted channel's connections and drops what waits there.
  public mutating func removeChannel(_ arn: String) {
    guard let channel = channels.removeValue(forKey: arn) else { return }
    for id in [channel.master].compactMap({ $0 })
      + channel.viewers.values.sorted(by: { $0.rawValue < $1.rawValue })
    {
      connections[id] = nil
      effects.append(.close(id, .goingAway, reason: "The channel was deleted"))
    }
  }

  /// Closes every connection.
  public mutating func closeAll() {
    for arn in channels.keys.sorted() {
      for id in connectionIDs(ofChannel: arn) {
        close(id, .goingAway, reason: "The service is shutting down")
      }
    }
  }

  // MARK: what the service says by itself

  /// Asks all clients of a channel to connect anew, and closes their connections after the grace period.
  public mutating func sendGoAway(toChannel arn: String, at now: Instant) {
    for id in connectionIDs(ofChannel: arn) { sendGoAway(to: id, at: now) }
  }

  /// Asks all clients of a channel to fetch new ICE servers.
  public mutating func sendReconnectICEServer(toChannel arn: String, at now: Instant) {
    for id in connectionIDs(ofChannel: arn) {
      send(SignalingMessage.ServiceFrame.reconnectICEServer.text, to: id, at: now)
    }
  }

  private mutating func sendGoAway(to id: SignalingConnectionID, at now: Instant) {
    guard let connection = connections[id], connection.goAwayDeadline != nil else { return }
    connections[id]?.goAwayDeadline = nil
    connections[id]?.endDeadline = min(connection.endDeadline, now + configuration.goAwayGrace)
    // The notice is no traffic: a client that is idle stays so.
    effects.append(.send(id, frame: SignalingMessage.ServiceFrame.goAway.text))
  }

  private func connectionIDs(ofChannel arn: String) -> [SignalingConnectionID] {
    guard let channel = channels[arn] else { return [] }
    return ([channel.master].compactMap { $0 } + channel.viewers.values).sorted { $0.rawValue < $1.rawValue }
  }

  // MARK: time

  /// When ``handleTimeout(at:)`` is next needed.
  public var nextDeadline: Instant? {
    var earliest: Instant?
    for connection in connections.values {
      earliest = Instant.earliest(earliest, connection.lastActivity + configuration.idleTimeout)
      earliest = Instant.earliest(earliest, connection.goAwayDeadline)
      earliest = Instant.earliest(earliest, connection.endDeadline)
    }
    for channel in channels.values { earliest = Instant.earliest(earliest, channel.held.nextDeadline) }
    return earliest
  }

  /// Ends idle and old connections, sends the notices before that, drops messages that nobody fetched.
  public mutating func handleTimeout(at now: Instant) {
    for id in connections.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
      guard let connection = connections[id] else { continue }
      if connection.endDeadline <= now {
        close(id, .goingAway, reason: "Going away")
      } else if connection.lastActivity + configuration.idleTimeout <= now {
        close(id, .goingAway, reason: "Idle")
      } else if let deadline = connection.goAwayDeadline, deadline <= now {
        sendGoAway(to: id, at: now)
      }
    }
    for arn in channels.keys.sorted() {
      var expired = 0
      withChannel(arn) { channel in expired = channel.held.removeExpired(at: now) }
      drops[.expired] &+= UInt64(expired)
    }
  }

  /// The oldest effect that has not been carried out; `nil` when there is none.
  public mutating func pollEffect() -> Effect? {
    guard effectsHead < effects.count else {
      effects.removeAll(keepingCapacity: true)
      effectsHead = 0
      return nil
    }
    defer { effectsHead += 1 }
    return effects[effectsHead]
  }

  // MARK: frames

  /// Notes a ping or pong: the connection is not idle.
  public mutating func receiveControl(on id: SignalingConnectionID, at now: Instant) {
    connections[id]?.lastActivity = now
  }

  /// Ends a connection that sent a binary message: the protocol has text alone.
  public mutating func receiveBinary(on id: SignalingConnectionID) {
    guard connections[id] != nil else { return }
    drops[.binaryMessage] &+= 1
    close(id, .unsupportedData, reason: "Only text messages")
  }

  /// Handles one text message of a client.
  public mutating func receive(_ text: [UInt8], on id: SignalingConnectionID, at now: Instant) {
    guard var connection = connections[id] else { return }
    connection.lastActivity = now
    let refusal = Self.route(text, of: &connection, limits: configuration, at: now)
    connections[id] = connection
    switch refusal {
    case .success(let message): deliver(message, from: id, connection, at: now)
    case .failure(let refusal): refuse(refusal, on: id, at: now)
    }
  }

  /// Why a frame is not delivered, and to which of the client's frames the answer belongs.
  private struct Refusal: Error {
    let cause: DropCause
    let description: String
    var correlationID: String?
  }

  /// A frame that may be delivered.
  private struct Accepted {
    let kind: SignalingMessage.Kind
    let payload: String
    let recipient: HeldMessages.Recipient
    let correlationID: String?
  }

  private static func route(
    _ text: [UInt8], of connection: inout SignalingConnection, limits: Configuration, at now: Instant
  ) -> Result<Accepted, Refusal> {
    let frame: SignalingMessage.ClientFrame
    do throws(SignalingMessage.Failure) {
      frame = try SignalingMessage.ClientFrame(parsing: text)
    } catch {
      return .failure(
        Refusal(
          cause: DropCause(error.defect), description: error.description, correlationID: error.correlationID))
    }
    func refusal(_ cause: DropCause, _ description: String) -> Result<Accepted, Refusal> {
      .failure(Refusal(cause: cause, description: description, correlationID: frame.correlationID))
    }
    let isInTime =
      frame.kind.isDescription
      ? connection.descriptionRate.take(at: now) : connection.candidateRate.take(at: now)
    guard isInTime else { return refusal(.rateExceeded, "Too many messages of this kind in a second.") }
    guard frame.payload.utf8.count <= limits.payloadCharactersMax else {
      return refusal(
        .payloadTooLong, "The payload is longer than \(limits.payloadCharactersMax) characters of base64.")
    }
    guard frame.payload.utf8.allSatisfy(isBase64) else {
      return refusal(.malformedPayload, "The payload is not base64 text.")
    }
    var recipient = HeldMessages.Recipient.master
    if case .master = connection.role {
      guard let clientID = frame.recipientClientID, SignalingMessage.isViewerIdentifier(clientID) else {
        return refusal(.malformedRecipient, "The master's message must name a viewer as its recipient.")
      }
      recipient = .viewer(clientID: clientID)
    }
    return .success(
      Accepted(
        kind: frame.kind, payload: frame.payload, recipient: recipient, correlationID: frame.correlationID))
  }

  private static func isBase64(_ byte: UInt8) -> Bool {
    ServiceNames.isLetterOrDigit(byte) || "+/=-_".utf8.contains(byte)
  }

  private mutating func deliver(
    _ message: Accepted, from id: SignalingConnectionID, _ connection: SignalingConnection, at now: Instant
  ) {
    let frame = SignalingMessage.ServiceFrame.message(
      kind: message.kind, payload: message.payload, senderClientID: connection.clientID
    ).text
    if let target = target(of: message.recipient, inChannel: connection.channelARN) {
      send(frame, to: target, at: now)
      return
    }
    let held = HeldMessages.Message(
      recipient: message.recipient, senderClientID: connection.clientID, kind: message.kind, frame: frame,
      expiry: now + (channels[connection.channelARN]?.messageTimeToLive ?? .zero))
    let hasRoom = channels.values.reduce(0) { $0 + $1.held.byteCount } < configuration.heldBytesMax
    switch hasRoom ? channels[connection.channelARN]?.held.append(held) ?? .refused : .refused {
    case .held: break
    case .replacedOlder: drops[.replaced] &+= 1
    case .refused:
      refuse(
        Refusal(
          cause: .heldFull, description: "Too many messages wait for this recipient.",
          correlationID: message.correlationID), on: id, at: now)
    }
  }

  private func target(
    of recipient: HeldMessages.Recipient, inChannel arn: String
  ) -> SignalingConnectionID? {
    switch recipient {
    case .master: channels[arn]?.master
    case .viewer(let clientID): channels[arn]?.viewers[clientID]
    }
  }

  private mutating func refuse(_ refusal: Refusal, on id: SignalingConnectionID, at now: Instant) {
    drops[refusal.cause] &+= 1
    connections[id]?.faultCount += 1
    if let correlationID = refusal.correlationID {
      let isLimit = refusal.cause == .rateExceeded || refusal.cause == .heldFull
      let exception: ServiceException = isLimit ? .clientLimitExceeded : .invalidArgument
      let status = SignalingMessage.StatusResponse(
        correlationID: correlationID, errorType: exception.rawValue, statusCode: String(exception.statusCode),
        description: refusal.description)
      send(SignalingMessage.ServiceFrame.statusResponse(status).text, to: id, at: now)
    }
    if let connection = connections[id], connection.faultCount >= configuration.faultsMax {
      close(id, .policyViolation, reason: "Too many faulty messages")
    }
  }

  private mutating func send(_ frame: String, to id: SignalingConnectionID, at now: Instant) {
    guard connections[id] != nil else { return }
    connections[id]?.lastActivity = now
    effects.append(.send(id, frame: frame))
  }

  /// Closes a connection and forgets it; also for faults that the shell finds in the frames below.
  public mutating func close(_ id: SignalingConnectionID, _ code: SignalingCloseCode, reason: String) {
    guard connections[id] != nil else { return }
    disconnect(id)
    effects.append(.close(id, code, reason: reason))
  }

  /// Changes a channel, and forgets it when nothing is left in it.
  private mutating func withChannel(_ arn: String, _ change: (inout Channel) -> Void) {
    guard var channel = channels[arn] else { return }
    change(&channel)
    channels[arn] = channel.isEmpty ? nil : channel
  }
}

extension SignalingHub.DropCause {
  /// The cause of a frame that could not be read.
  fileprivate init(_ defect: SignalingMessage.Defect) {
    switch defect {
    case .frameTooLong, .malformed: self = .malformedFrame
    case .unknownAction: self = .unknownAction
    case .payloadTooLong: self = .payloadTooLong
    case .payloadMissing: self = .malformedPayload
    case .invalidIdentifier: self = .malformedIdentifier
    }
  }
}
