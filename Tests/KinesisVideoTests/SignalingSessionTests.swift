// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO
import Testing

/// Runs a core in virtual time against a service that answers as the test says, and keeps what it did.
private struct Session {
  typealias Action = SignalingSessionCore.Action

  var core: SignalingSessionCore
  var now = Instant.zero
  var socket = 0
  var actions: [(at: Instant, action: Action)] = []
  var texts: [(at: Instant, frame: SignalingMessage.ClientFrame)] = []
  var events: [SignalingEvent] = []
  var connects: [Instant] = []
  var failure: KinesisVideoError?
  /// What the service says to each operation; `nil` for success.
  var verdict: (Action) -> KinesisVideoError? = { _ in nil }
  var answersPings = true
  var iceServers = [ICEServer(urls: ["turn:192.0.2.1:443?transport=udp"], timeToLive: .seconds(300))]

  init(seed: UInt64 = 1, createsChannel: Bool = false) {
    var configuration = SignalingSessionCore.Configuration()
    configuration.createsChannel = createsChannel
    core = SignalingSessionCore(configuration: configuration, random: RandomSource(seed: seed))
  }

  mutating func start() {
    core.start(at: now)
    perform()
  }

  mutating func send(_ signal: OutgoingSignal) {
    core.send(signal, at: now)
    perform()
  }

  mutating func receive(_ frame: SignalingMessage.ServiceFrame) {
    core.receive(Array(frame.text.utf8), operation: socket, at: now)
    perform()
  }

  mutating func loseSocket() {
    core.webSocketClosed(operation: socket, reason: "lost", at: now)
    perform()
  }

  /// Lets the time pass, from deadline to deadline.
  mutating func run(for span: TimeDelta) {
    let end = now + span
    while let deadline = core.nextDeadline(at: now), deadline <= end {
      now = max(now, deadline)
      core.handleTimeout(at: now)
      perform()
    }
    now = end
  }

  mutating func perform() {
    while let action = core.pollAction() {
      actions.append((now, action))
      switch action {
      case .describeChannel(let number), .createChannel(let number), .getEndpoints(let number):
        finish(action, number) { core, now in core.succeeded(operation: number, at: now) }
      case .getICEServers(let number):
        finish(action, number) { [iceServers] core, now in
          core.received(iceServers: iceServers, operation: number, at: now)
        }
      case .openWebSocket(let number):
        connects.append(now)
        finish(action, number) { core, now in core.webSocketOpened(operation: number, at: now) }
        if core.state == .connected { socket = number }
      case .closeWebSocket, .giveUp: break
      case .sendText(let text, _):
        if let frame = try? SignalingMessage.ClientFrame(parsing: Array(text.utf8)) {
          texts.append((now, frame))
        }
      case .sendPing(let number): if answersPings { core.receivedControlFrame(operation: number, at: now) }
      case .report(let event): events.append(event)
      case .fail(let error): failure = error
      }
    }
  }

  private mutating func finish(
    _ action: Action, _ number: Int, _ success: (inout SignalingSessionCore, Instant) -> Void
  ) {
    if let error = verdict(action) {
      core.failed(operation: number, error: error, at: now)
    } else {
      success(&core, now)
    }
  }

  var waits: [Duration] {
    events.compactMap { if case .disconnected(_, let retryIn) = $0 { retryIn } else { nil } }
  }

  func count(_ matches: (Action) -> Bool) -> Int { actions.count { matches($0.action) } }
}

private func refusal(_ type: String, _ status: Int) -> KinesisVideoError {
  KinesisVideoError(errorType: type, message: "", statusCode: status)
}

private let outage = refusal("ServiceUnavailable", 503)
private let candidate = OutgoingSignal.candidate(.init(candidate: "candidate:1"), to: "v")

@Suite("A signaling session on its way to a connection")
struct SignalingSessionConnectTests {
  @Test("The steps follow in order, each is timed")
  func steps() {
    var session = Session()
    session.start()
    #expect(session.core.state == .connected)
    let steps = session.events.compactMap { if case .stepTimed(let step, _) = $0 { step } else { nil } }
    #expect(steps == [.describe, .endpoints, .iceServers, .webSocket])
    #expect(session.events.contains(.connected))
    #expect(session.events.contains(.iceServers(session.iceServers)))
  }

  @Test("A missing channel is created when allowed, else the first attempt fails for good")
  func missingChannel() {
    let missing = refusal("ResourceNotFoundException", 404)
    let verdict: (SignalingSessionCore.Action) -> KinesisVideoError? = {
      if case .describeChannel = $0 { missing } else { nil }
    }
    var strict = Session()
    strict.verdict = verdict
    strict.start()
    #expect(strict.failure == missing)
    #expect(strict.core.state == .ended)
    #expect(strict.core.nextDeadline(at: strict.now) == nil)
    var creating = Session(createsChannel: true)
    creating.verdict = verdict
    creating.start()
    #expect(creating.core.state == .connected)
    #expect(creating.count { if case .createChannel = $0 { true } else { false } } == 1)
  }

  @Test("T37 wrong credentials end the first attempt, and later are waited out")
  func credentials() {
    let wrong = refusal("UnrecognizedClientException", 403)
    var session = Session()
    session.verdict = { _ in wrong }
    session.start()
    #expect(session.failure == wrong)
    var later = Session()
    later.start()
    later.verdict = { _ in wrong }
    later.loseSocket()
    later.run(for: .seconds(60))
    #expect(later.failure == nil)
    later.verdict = { _ in nil }
    later.run(for: .seconds(11))
    #expect(later.core.state == .connected)
  }

  @Test("The list of relays is not needed to connect, and is asked for again")
  func relaysFail() {
    var session = Session()
    session.verdict = { if case .getICEServers = $0 { outage } else { nil } }
    session.start()
    #expect(session.core.state == .connected)
    session.verdict = { _ in nil }
    session.run(for: .seconds(2))
    #expect(session.events.contains(.iceServers(session.iceServers)))
  }

  @Test("T37 back-off stays in its bounds, never busy, for every seed", arguments: 0..<40)
  func backoffBounds(seed: UInt64) {
    var session = Session(seed: seed)
    session.verdict = { if case .openWebSocket = $0 { outage } else { nil } }
    session.start()
    session.run(for: .seconds(300))
    for (index, wait) in session.waits.enumerated() {
      #expect(wait <= max(min(.milliseconds(100 << min(index, 7)), .seconds(10)), .milliseconds(334)))
    }
    for (earlier, later) in zip(session.connects, session.connects.dropFirst()) {
      #expect(later - earlier >= .milliseconds(334))
    }
    #expect(session.connects.count > 30)
    #expect(session.connects.count < 150)
    #expect(session.failure == nil)
  }

  @Test("Two masters that take a channel from each other slow down")
  func shortConnections() {
    var session = Session()
    session.start()
    for _ in 0..<12 {
      session.loseSocket()
      session.run(for: .seconds(10))
    }
    #expect(session.connects.count < 14)
    let before = session.connects.count
    session.run(for: .seconds(30))
    session.loseSocket()
    #expect(session.waits.last.map { $0 <= .milliseconds(334) } == true)
    session.run(for: .milliseconds(400))
    #expect(session.connects.count > before)
  }

  @Test("Addresses are kept for the next connection, and fetched anew after three failures")
  func addresses() {
    var session = Session()
    session.start()
    let endpoints: (SignalingSessionCore.Action) -> Bool = {
      if case .getEndpoints = $0 { true } else { false }
    }
    session.loseSocket()
    session.run(for: .seconds(1))
    #expect(session.core.state == .connected)
    #expect(session.count(endpoints) == 1)
    session.verdict = { if case .openWebSocket = $0 { outage } else { nil } }
    session.loseSocket()
    session.run(for: .seconds(20))
    #expect(session.count(endpoints) > 1)
  }

  @Test("An operation that never ends is given up, its late outcome ignored")
  func lostOperation() {
    var core = SignalingSessionCore(random: RandomSource(seed: 1))
    core.start(at: .zero)
    #expect(core.state == .describing)
    core.handleTimeout(at: .zero + .seconds(45))
    #expect(core.state == .backingOff)
    core.succeeded(operation: 1, at: .zero + .seconds(46))
    #expect(core.state == .backingOff)
    core.webSocketOpened(operation: 1, at: .zero + .seconds(46))
    var last: SignalingSessionCore.Action?
    while let action = core.pollAction() { last = action }
    #expect(last == .closeWebSocket(operation: 1))
  }
}

@Suite("T37 A service that refuses, in virtual time")
struct SignalingSessionRateTests {
  /// The most requests of one kind in any window of a second.
  private func densest(_ session: Session) -> Int {
    var times: [String: [Instant]] = [:]
    for (time, action) in session.actions {
      switch action {
      case .describeChannel: times["describe", default: []].append(time)
      case .createChannel: times["create", default: []].append(time)
      case .getEndpoints: times["endpoints", default: []].append(time)
      case .getICEServers: times["relays", default: []].append(time)
      case .openWebSocket: times["socket", default: []].append(time)
      default: break
      }
    }
    return times.values.map { list in
      list.map { start in list.count { $0 >= start && $0 - start < .seconds(1) } }.max() ?? 0
    }.max() ?? 0
  }

  @Test(
    "Never more than 3 requests of a kind in a second, whatever is refused and how, for 10 minutes",
    arguments: [403, 404, 429, 500, 503], 0..<8)
  func rates(status: Int, seed: UInt64) {
    for kind in 0..<5 {
      var session = Session(seed: seed, createsChannel: true)
      session.start()
      session.verdict = { action in
        switch (action, kind) {
        case (.describeChannel, 0), (.createChannel, 0...1), (.getEndpoints, 2), (.getICEServers, 3),
          (.openWebSocket, 0...4):
          refusal("HTTP\(status)", status)
        default: nil
        }
      }
      session.loseSocket()
      session.run(for: .seconds(600))
      #expect(densest(session) <= 3)
      #expect(session.failure == nil)
      session.verdict = { _ in nil }
      session.run(for: .seconds(11))
      #expect(session.core.state == .connected)
    }
  }

  @Test("A clock that the service calls wrong is tried again twice, then the first attempt fails")
  func clockSkew() {
    let skew = KinesisVideoError(
      errorType: "InvalidSignatureException", message: "Signature expired: ...", statusCode: 403)
    var session = Session()
    session.verdict = { _ in skew }
    session.start()
    session.run(for: .seconds(60))
    #expect(session.failure == skew)
    #expect(session.count { if case .describeChannel = $0 { true } else { false } } == 3)
    #expect(densest(session) <= 3)
    var corrected = Session()
    corrected.verdict = { _ in skew }
    corrected.start()
    corrected.verdict = { _ in nil }
    corrected.run(for: .seconds(1))
    #expect(corrected.core.state == .connected)
  }

  @Test("A service that sends every new connection away is asked less and less", arguments: 0..<8)
  func goAwayFlood(seed: UInt64) {
    var session = Session(seed: seed)
    session.start()
    for _ in 0..<3_000 {
      if session.core.state == .connected { session.receive(.goAway) }
      session.run(for: .milliseconds(100))
    }
    #expect(densest(session) <= 3)
    #expect(session.connects.count < 150)
  }

  @Test("A call that is given up is cancelled")
  func givenUp() {
    var core = SignalingSessionCore(random: RandomSource(seed: 1))
    core.start(at: .zero)
    core.handleTimeout(at: .zero + .seconds(45))
    var actions: [SignalingSessionCore.Action] = []
    while let action = core.pollAction() { actions.append(action) }
    #expect(actions.contains(.giveUp(operation: 1)))
  }
}

@Suite("An open signaling session")
struct SignalingSessionTests {
  @Test("At most 4 descriptions and 16 candidates leave in any second, none is lost")
  func pacing() {
    var session = Session()
    session.start()
    for number in 0..<20 { session.send(.answer(sdp: "v=0", to: "v\(number)")) }
    for _ in 0..<80 { session.send(candidate) }
    session.run(for: .seconds(10))
    for (kinds, limit) in [([SignalingMessage.Kind.offer, .answer], 4), ([.iceCandidate], 16)] {
      let times = session.texts.filter { kinds.contains($0.frame.kind) }.map(\.at)
      #expect(times.count == (limit == 4 ? 20 : 80))
      for (first, beyond) in zip(times, times.dropFirst(limit)) { #expect(beyond - first >= .seconds(1)) }
    }
    let recipients = session.texts.compactMap { $0.frame.kind == .answer ? $0.frame.recipientClientID : nil }
    #expect(recipients == (0..<20).map { "v\($0)" })
  }

  @Test("A candidate never overtakes the description for the same viewer, but does that for others")
  func order() {
    var session = Session()
    session.start()
    for number in 0..<6 { session.send(.answer(sdp: "v=0", to: "v\(number)")) }
    session.send(.candidate(.init(candidate: "candidate:5"), to: "v5"))
    session.send(.candidate(.init(candidate: "candidate:0"), to: "v0"))
    #expect(session.texts.last?.frame.recipientClientID == "v0")
    session.run(for: .seconds(3))
    #expect(session.texts.count == 8)
    #expect(session.texts.last?.frame.kind == .iceCandidate)
    #expect(session.texts.last?.frame.recipientClientID == "v5")
  }

  @Test("A full queue drops its oldest candidates and counts them; old messages are dropped")
  func queueBound() {
    var session = Session()
    session.send(.offer(sdp: "v=0", to: "v"))
    for _ in 0..<300 { session.send(candidate) }
    #expect(session.core.queuedCount == 256)
    #expect(session.core.drops[.candidateQueueFull] == 45)
    session.now += .seconds(61)
    session.start()
    #expect(session.texts.isEmpty)
    #expect(session.core.drops[.expired] == 256)
  }

  @Test("A message that was too much goes once more after a second, then the application is told")
  func statusRetry() throws {
    var session = Session()
    session.start()
    session.send(candidate)
    let identifier = try #require(session.texts.first?.frame.correlationID)
    let limit = SignalingMessage.StatusResponse(
      correlationID: identifier, errorType: "ClientLimitExceededException", statusCode: "400", description: ""
    )
    session.receive(.statusResponse(limit))
    session.receive(.statusResponse(limit))
    #expect(session.events.last == .statusResponse(limit))
    session.run(for: .milliseconds(999))
    #expect(session.texts.count == 1)
    session.run(for: .milliseconds(2))
    #expect(session.texts.count == 2)
    #expect(session.texts.last?.frame == session.texts.first?.frame)
    let before = session.events.count
    session.receive(.statusResponse(limit))
    #expect(session.events.count == before + 1)
    session.run(for: .seconds(5))
    #expect(session.texts.count == 2)
    let other = SignalingMessage.StatusResponse(
      correlationID: nil, errorType: "InvalidArgumentException", statusCode: "400", description: "")
    session.receive(.statusResponse(other))
    #expect(session.events.last == .statusResponse(other))
  }

  @Test("A connection whose pings stay unanswered is left, one that answers is kept")
  func pings() {
    var session = Session()
    session.start()
    session.run(for: .seconds(300))
    #expect(session.connects.count == 1)
    session.answersPings = false
    session.run(for: .seconds(31))
    #expect(session.connects.count == 2)
    #expect(session.count { $0 == .closeWebSocket(operation: 4) } == 1)
  }

  @Test("GO_AWAY reconnects at once and loses nothing that waits")
  func goAway() {
    var session = Session()
    session.start()
    session.run(for: .seconds(20))
    for number in 0..<8 { session.send(.offer(sdp: "v=0", to: "v\(number)")) }
    session.receive(.goAway)
    #expect(session.core.state == .backingOff)
    session.run(for: .seconds(2))
    #expect(session.core.state == .connected)
    #expect(session.connects.count == 2)
    #expect(session.texts.map(\.frame.recipientClientID) == (0..<8).map { "v\($0)" })
  }

  @Test(
    "The service's wish for other relays, and their end, fetch the list again; a flood of wishes does not")
  func relays() {
    var session = Session()
    session.start()
    let fetches: (SignalingSessionCore.Action) -> Bool = {
      if case .getICEServers = $0 { true } else { false }
    }
    session.run(for: .seconds(269))
    #expect(session.count(fetches) == 1)
    session.run(for: .seconds(2))
    #expect(session.count(fetches) == 2)
    session.run(for: .seconds(10))
    for _ in 0..<100 { session.receive(.reconnectICEServer) }
    #expect(session.count(fetches) == 3)
    session.run(for: .seconds(5))
    #expect(session.count(fetches) == 4)
    #expect(session.connects.count == 1)
  }

  @Test("Peers' messages become events; what cannot be read is counted and the session goes on")
  func inbound() {
    var session = Session()
    session.start()
    session.receive(
      .message(kind: .offer, payload: SDPPayload(type: "offer", sdp: "v=0").payload, senderClientID: "v1"))
    #expect(session.events.last == .offer(sdp: "v=0", from: "v1"))
    session.receive(
      .message(kind: .offer, payload: SDPPayload(type: "offer", sdp: "v=0").payload, senderClientID: nil))
    #expect(session.events.last == .offer(sdp: "v=0", from: ""))
    let payload = ICECandidatePayload(candidate: "candidate:1", sdpMid: "0")
    session.receive(.message(kind: .iceCandidate, payload: payload.payload, senderClientID: nil))
    #expect(session.events.last == .iceCandidate(payload, from: nil))
    let before = session.events.count
    session.receive(.message(kind: .offer, payload: "!", senderClientID: "v1"))
    session.receive(.message(kind: .offer, payload: "e30=", senderClientID: "a\nb"))
    session.receive(.unknown("NEWS"))
    session.core.receive([0xff], operation: session.socket, at: session.now)
    #expect(session.events.count == before)
    #expect(session.core.drops[.malformedPayload] == 1)
    #expect(session.core.drops[.invalidSender] == 1)
    #expect(session.core.drops[.unknownType] == 1)
    #expect(session.core.drops[.malformedFrame] == 1)
    #expect(session.core.state == .connected)
  }

  @Test("A message that the service would refuse is not sent, and the application is told")
  func unsendable() {
    var session = Session()
    session.start()
    session.send(.offer(sdp: String(repeating: "a", count: 8000), to: "v"))
    session.send(.offer(sdp: "v=0", to: "a b"))
    #expect(session.texts.isEmpty)
    #expect(session.core.drops[.unsendable] == 2)
    let told = session.events.count { if case .statusResponse = $0 { true } else { false } }
    #expect(told == 2)
  }

  @Test("After the end nothing happens")
  func stop() {
    var session = Session()
    session.start()
    session.core.stop()
    session.perform()
    session.send(candidate)
    session.receive(.goAway)
    session.run(for: .seconds(100))
    #expect(session.core.state == .ended)
    #expect(session.actions.last?.action == .closeWebSocket(operation: 4))
  }
}
