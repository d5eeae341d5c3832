// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO
import Testing

@testable import LocalKinesisVideo

/// A hub in virtual time, with what each connection was sent and how it was closed.
private struct HubHarness {
  static let arn = "arn:aws:kinesisvideo:us-west-2:000000000000:channel/porch/1700000000123"

  var hub: SignalingHub
  var now = Instant.zero
  var sent: [SignalingConnectionID: [String]] = [:]
  var closed: [SignalingConnectionID: SignalingCloseCode] = [:]

  init(_ configuration: SignalingHub.Configuration = SignalingHub.Configuration()) {
    hub = SignalingHub(configuration: configuration)
  }

  mutating func drain() {
    while let effect = hub.pollEffect() {
      switch effect {
      case .send(let id, let frame): sent[id, default: []].append(frame)
      case .close(let id, let code, _): closed[id] = code
      }
    }
  }

  mutating func connect(
    _ role: SignalingRole, timeToLive: Int = 60, channel: String = arn
  ) throws(KinesisVideoError) -> SignalingConnectionID {
    let id = try hub.connect(role, channelARN: channel, messageTTLSeconds: timeToLive, at: now)
    drain()
    return id
  }

  mutating func receive(_ text: String, on id: SignalingConnectionID) {
    hub.receive(Array(text.utf8), on: id, at: now)
    drain()
  }

  mutating func send(
    _ kind: SignalingMessage.Kind, _ payload: String, to recipient: String? = nil,
    correlationID: String? = nil, on id: SignalingConnectionID
  ) {
    let frame = SignalingMessage.ClientFrame(
      kind: kind, recipientClientID: recipient, payload: payload, correlationID: correlationID)
    receive(frame.text, on: id)
  }

  /// Lets time pass, stopping at every deadline of the hub.
  mutating func advance(_ delta: TimeDelta) {
    let end = now + delta
    while let deadline = hub.nextDeadline, deadline <= end {
      now = max(now, deadline)
      hub.handleTimeout(at: now)
      drain()
    }
    now = end
  }

  mutating func takeFrames(_ id: SignalingConnectionID) -> [SignalingMessage.ServiceFrame] {
    (sent.removeValue(forKey: id) ?? []).compactMap { try? .init(parsing: Array($0.utf8)) }
  }

  mutating func takePayloads(_ id: SignalingConnectionID) -> [String] {
    takeFrames(id).compactMap { frame in
      if case .message(_, let payload, _) = frame { payload } else { nil }
    }
  }

  mutating func takeStatuses(_ id: SignalingConnectionID) -> [SignalingMessage.StatusResponse] {
    takeFrames(id).compactMap { frame in
      if case .statusResponse(let status) = frame { status } else { nil }
    }
  }
}

@Suite("The signaling hub delivers by the service's rules")
struct SignalingHubTests {
  @Test("AT-30 a viewer's offer reaches the master with the viewer's id")
  func offer() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "viewer-7f"))
    harness.send(.offer, "b2ZmZXI=", correlationID: "c-1", on: viewer)
    #expect(
      harness.sent[master] == [
        #"{"messagePayload":"b2ZmZXI=","messageType":"SDP_OFFER","senderClientId":"viewer-7f"}"#
      ])
    #expect(harness.sent[viewer] == nil)
  }

  @Test("AT-31 a master's answer reaches only its viewer, without a sender")
  func answer() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let first = try harness.connect(.viewer(clientID: "a"))
    let second = try harness.connect(.viewer(clientID: "b"))
    harness.send(.answer, "QUJD", to: "a", on: master)
    #expect(harness.sent[first] == [#"{"messagePayload":"QUJD","messageType":"SDP_ANSWER"}"#])
    #expect(harness.sent[second] == nil)
  }

  @Test("AT-32 a viewer that names another viewer reaches the master")
  func viewerToViewer() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let first = try harness.connect(.viewer(clientID: "a"))
    let second = try harness.connect(.viewer(clientID: "b"))
    harness.send(.iceCandidate, "QUJD", to: "b", on: first)
    #expect(harness.takePayloads(master) == ["QUJD"])
    #expect(harness.sent[second] == nil)
  }

  @Test("T36 the sender is the connection's, whatever a frame says")
  func forgedSender() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.receive(
      #"{"action":"SDP_OFFER","messagePayload":"QQ==","senderClientId":"b","SenderClientId":"b"}"#, on: viewer
    )
    #expect(harness.takeFrames(master) == [.message(kind: .offer, payload: "QQ==", senderClientID: "a")])
  }

  @Test("AT-33 keys in PascalCase are understood")
  func pascalCase() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.receive(
      #"{"action":"SDP_ANSWER","RecipientClientId":"a","MessagePayload":"QQ==","CorrelationId":"7"}"#,
      on: master)
    #expect(harness.takePayloads(viewer) == ["QQ=="])
    #expect(harness.sent[master] == nil)
  }

  @Test("AT-35 faulty frames are answered when they can be, and the connection stays")
  func faultyFrames() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let long = String(repeating: "A", count: 10_241)
    let frames = [
      #"{"action":"SDP_PRANSWER","messagePayload":"QQ==","recipientClientId":"a","correlationId":"1"}"#,
      #"{"action":"SDP_ANSWER","messagePayload":"\#(long)","recipientClientId":"a","correlationId":"1"}"#,
      #"{"action":"SDP_ANSWER","messagePayload":"QQ==","correlationId":"1"}"#,
      #"{"action":"SDP_ANSWER","messagePayload":"QQ==","recipientClientId":"aws_x","correlationId":"1"}"#,
      #"{"action":"SDP_ANSWER","recipientClientId":"a","correlationId":"1"}"#,
      #"{"action":"SDP_ANSWER","messagePayload":"no base64!","recipientClientId":"a","correlationId":"1"}"#,
    ]
    for frame in frames {
      harness.receive(frame, on: master)
      let raw = harness.sent[master]?.first ?? ""
      #expect(raw.contains(#""statusCode":"400""#), "\(frame.prefix(80))")
      #expect(raw.contains(#""success":false"#))
      let statuses = harness.takeStatuses(master)
      #expect(statuses.map(\.errorType) == ["InvalidArgumentException"])
      #expect(statuses.map(\.correlationID) == ["1"])
      harness.now += .seconds(1)
    }
    #expect(harness.closed.isEmpty)
    #expect(harness.hub.connectionCount == 1)
  }

  @Test("a payload of 10,240 characters passes")
  func longestPayload() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    let payload = String(repeating: "A", count: 10_240)
    harness.send(.offer, payload, on: viewer)
    #expect(harness.takePayloads(master) == [payload])
  }

  @Test(
    "T33 nasty JSON is counted and the connection stays",
    arguments: [
      "", "{", "null", "[]", "\"x\"", "{\"action\":7}", "{\"action\":\"SDP_OFFER\",\"messagePayload\":{}}",
      "{\"action\":\"SDP_OFFER\",\"messagePayload\":\"QQ==\",\"correlationId\":[]}",
      "{\"action\":\"\\ud800\"}", "\u{0}",
    ])
  func nastyJSON(text: String) throws {
    var harness = HubHarness()
    _ = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.receive(text, on: viewer)
    #expect(harness.sent.isEmpty)
    #expect(harness.hub.drops.total == 1)
    #expect(harness.hub.connectionCount == 2)
  }

  @Test("T33 deep JSON is counted and the connection stays")
  func deepJSON() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.receive(String(repeating: "[", count: 60_000), on: viewer)
    harness.receive(String(repeating: "{\"a\":", count: 10_000), on: viewer)
    #expect(harness.hub.drops[.malformedFrame] == 2)
    #expect(harness.hub.connectionCount == 1)
  }

  @Test("T33 bytes that are no UTF-8 and every prefix of a frame do no harm")
  func prefixes() throws {
    var harness = HubHarness()
    _ = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    let frame = Array(#"{"action":"SDP_OFFER","messagePayload":"QUJD","correlationId":"c"}"#.utf8)
    for count in 0..<frame.count {
      harness.hub.receive(Array(frame.prefix(count)), on: viewer, at: harness.now)
      harness.hub.receive(Array(frame.prefix(count)) + [0xff, 0xc0], on: viewer, at: harness.now)
    }
    harness.drain()
    #expect(harness.sent.isEmpty)
    #expect(harness.hub.drops[.malformedFrame] == UInt64(2 * frame.count))
  }

  @Test("T33 flipped bits never trap, and what is delivered names the right sender")
  func bitFlips() throws {
    var configuration = SignalingHub.Configuration()
    configuration.faultsMax = .max
    var harness = HubHarness(configuration)
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    var random = RandomSource(seed: 7)
    let frame = Array(#"{"action":"SDP_OFFER","messagePayload":"QUJD","correlationId":"c"}"#.utf8)
    for _ in 0..<3000 {
      var bytes = frame
      for _ in 0...(random.next() % 3) {
        bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1) << UInt8(random.next() % 8)
      }
      harness.hub.receive(bytes, on: viewer, at: harness.now)
      harness.now += .milliseconds(200)
    }
    harness.drain()
    for text in harness.sent[master] ?? [] { #expect(text.hasSuffix(#""senderClientId":"a"}"#)) }
  }
}

@Suite("The signaling hub holds what cannot be delivered")
struct SignalingHubHoldingTests {
  @Test("AT-36 an offer waits for a master for the channel's time to live, not longer")
  func timeToLive() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"), timeToLive: 30)
    harness.send(.offer, "QUJD", on: viewer)
    harness.advance(.seconds(29))
    let inTime = try harness.connect(.master, timeToLive: 30)
    #expect(harness.takePayloads(inTime) == ["QUJD"])
    harness.hub.disconnect(inTime)
    harness.send(.offer, "REVG", on: viewer)
    harness.advance(.seconds(30))
    let late = try harness.connect(.master, timeToLive: 30)
    #expect(harness.takePayloads(late) == [])
    #expect(harness.hub.drops[.expired] == 1)
  }

  @Test("AT-37 the newest offer replaces a waiting one, candidates keep their order")
  func replacement() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"))
    let other = try harness.connect(.viewer(clientID: "b"))
    harness.send(.offer, "AAAA", on: viewer)
    harness.send(.offer, "OTHR", on: other)
    harness.send(.iceCandidate, "CAN1", on: viewer)
    harness.send(.iceCandidate, "CAN2", on: viewer)
    harness.send(.offer, "BBBB", on: viewer)
    harness.send(.iceCandidate, "CAN3", on: viewer)
    let master = try harness.connect(.master)
    #expect(harness.takePayloads(master) == ["OTHR", "CAN1", "CAN2", "BBBB", "CAN3"])
    #expect(harness.hub.drops[.replaced] == 1)
  }

  @Test("AT-38 what was delivered is not delivered again")
  func consumedOnce() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.send(.offer, "QUJD", on: viewer)
    let first = try harness.connect(.master)
    #expect(harness.takePayloads(first) == ["QUJD"])
    harness.hub.disconnect(first)
    let second = try harness.connect(.master)
    #expect(harness.takePayloads(second) == [])
  }

  @Test("a master's answer waits for a viewer that is away")
  func absentViewer() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    harness.send(.answer, "QUJD", to: "a", on: master)
    let other = try harness.connect(.viewer(clientID: "b"))
    #expect(harness.takePayloads(other) == [])
    let viewer = try harness.connect(.viewer(clientID: "a"))
    #expect(harness.takePayloads(viewer) == ["QUJD"])
  }

  @Test("what waits is bounded, and the sender is told")
  func bounded() throws {
    var configuration = SignalingHub.Configuration()
    configuration.descriptionsPerSecond = 1_000_000
    configuration.candidatesPerSecond = 1_000_000
    configuration.faultsMax = .max
    var harness = HubHarness(configuration)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    for _ in 0..<(HeldMessages.countMax + 5) {
      harness.send(.iceCandidate, "QUJD", correlationID: "c", on: viewer)
    }
    #expect(harness.hub.drops[.heldFull] == 5)
    let statuses = harness.takeStatuses(viewer)
    #expect(statuses.count == 5)
    #expect(statuses.allSatisfy { $0.isLimitExceeded })
  }
}

@Suite("The signaling hub ends connections")
struct SignalingHubConnectionTests {
  @Test("AT-29 the eleventh viewer is refused, and a place that is left is free")
  func viewerLimit() throws {
    var harness = HubHarness()
    var viewers: [SignalingConnectionID] = []
    for index in 0..<10 { viewers.append(try harness.connect(.viewer(clientID: "v\(index)"))) }
    #expect(throws: KinesisVideoError.self) { _ = try harness.connect(.viewer(clientID: "v10")) }
    do throws(KinesisVideoError) {
      _ = try harness.connect(.viewer(clientID: "v10"))
    } catch {
      #expect(error.errorType == "ClientLimitExceededException")
      #expect(error.statusCode == 400)
    }
    harness.hub.disconnect(viewers[3])
    _ = try harness.connect(.viewer(clientID: "v10"))
    #expect(harness.hub.presence(ofChannel: HubHarness.arn).viewerCount == 10)
  }

  @Test("AT-39 a second master takes the first one's place")
  func masterTakeover() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"))
    let first = try harness.connect(.master)
    let second = try harness.connect(.master)
    #expect(harness.closed == [first: .goingAway])
    harness.send(.offer, "QUJD", on: viewer)
    #expect(harness.takePayloads(second) == ["QUJD"])
    #expect(harness.sent[first] == nil)
    // The old socket's end must not take the new one's registration away.
    harness.hub.disconnect(first)
    #expect(harness.hub.presence(ofChannel: HubHarness.arn).hasMaster)
  }

  @Test("AT-40 a second viewer of the same id replaces the first and counts once")
  func viewerTakeover() throws {
    var harness = HubHarness()
    let first = try harness.connect(.viewer(clientID: "a"))
    for index in 1..<10 { _ = try harness.connect(.viewer(clientID: "v\(index)")) }
    _ = try harness.connect(.viewer(clientID: "a"))
    #expect(harness.closed == [first: .goingAway])
    #expect(harness.hub.presence(ofChannel: HubHarness.arn).viewerCount == 10)
    harness.send(.offer, "QUJD", on: first)
    #expect(harness.sent.isEmpty)
  }

  @Test("AT-41 and AT-42 an idle connection is closed, a ping keeps it")
  func idle() throws {
    var harness = HubHarness()
    let pinging = try harness.connect(.viewer(clientID: "a"))
    let silent = try harness.connect(.viewer(clientID: "b"))
    harness.advance(.seconds(599))
    harness.hub.receiveControl(on: pinging, at: harness.now)
    harness.advance(.seconds(1))
    #expect(harness.closed == [silent: .goingAway])
    harness.advance(.seconds(599))
    #expect(harness.closed[pinging] == .goingAway)
  }

  @Test("AT-43 a GO_AWAY comes before the end of a connection")
  func goAway() throws {
    var configuration = SignalingHub.Configuration()
    configuration.idleTimeout = .seconds(100_000)
    var harness = HubHarness(configuration)
    let master = try harness.connect(.master)
    harness.advance(.seconds(3539))
    #expect(harness.sent.isEmpty)
    harness.advance(.seconds(1))
    #expect(harness.sent[master] == [#"{"messageType":"GO_AWAY"}"#])
    harness.advance(.seconds(59))
    #expect(harness.closed.isEmpty)
    harness.advance(.seconds(1))
    #expect(harness.closed == [master: .goingAway])
    #expect(harness.hub.nextDeadline == nil)
  }

  @Test("AT-44 both notices can be sent at will")
  func administrativeNotices() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.hub.sendReconnectICEServer(toChannel: HubHarness.arn, at: harness.now)
    harness.hub.sendGoAway(toChannel: HubHarness.arn, at: harness.now)
    harness.drain()
    for id in [master, viewer] {
      #expect(harness.takeFrames(id) == [.reconnectICEServer, .goAway])
    }
    harness.advance(.seconds(60))
    #expect(harness.closed == [master: .goingAway, viewer: .goingAway])
  }

  @Test("AT-45 the sixth description and the twenty-first candidate of a second are refused")
  func rates() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    for index in 0..<6 { harness.send(.offer, "AAAA", correlationID: "s\(index)", on: viewer) }
    for index in 0..<21 { harness.send(.iceCandidate, "BBBB", correlationID: "c\(index)", on: viewer) }
    #expect(harness.takePayloads(master).count == 25)
    let statuses = harness.takeStatuses(viewer)
    #expect(statuses.map(\.correlationID) == ["s5", "c20"])
    #expect(statuses.allSatisfy { $0.isLimitExceeded && $0.statusCode == "400" })
    harness.advance(.milliseconds(199))
    harness.send(.offer, "AAAA", correlationID: "early", on: viewer)
    harness.advance(.milliseconds(1))
    harness.send(.offer, "AAAA", correlationID: "in-time", on: viewer)
    #expect(harness.takeStatuses(viewer).map(\.correlationID) == ["early"])
  }

  @Test("AT-46 a binary message ends its own connection alone")
  func binary() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    harness.hub.receiveBinary(on: viewer)
    harness.drain()
    #expect(harness.closed == [viewer: .unsupportedData])
    #expect(harness.hub.presence(ofChannel: HubHarness.arn).hasMaster)
    harness.send(.answer, "QUJD", to: "a", on: master)
    #expect(harness.closed[master] == nil)
  }

  @Test("a connection that sends nothing but faults is closed")
  func faults() throws {
    var harness = HubHarness()
    let viewer = try harness.connect(.viewer(clientID: "a"))
    for _ in 0..<1000 { harness.receive("{}", on: viewer) }
    #expect(harness.closed == [viewer: .policyViolation])
  }

  @Test("a deleted channel's connections are closed, other channels' are not")
  func removal() throws {
    var harness = HubHarness()
    let master = try harness.connect(.master)
    let viewer = try harness.connect(.viewer(clientID: "a"))
    let other = try harness.connect(.master, channel: HubHarness.arn + "4")
    harness.hub.removeChannel(HubHarness.arn)
    harness.drain()
    #expect(harness.closed == [master: .goingAway, viewer: .goingAway])
    #expect(harness.hub.connectionCount == 1)
    harness.hub.disconnect(other)
    #expect(harness.hub.connectionCount == 0)
  }

  @Test("connects can be limited to a rate")
  func connectRate() throws {
    var configuration = SignalingHub.Configuration()
    configuration.connectsPerSecond = 3
    var harness = HubHarness(configuration)
    for index in 0..<3 { _ = try harness.connect(.viewer(clientID: "v\(index)")) }
    #expect(throws: KinesisVideoError.self) { _ = try harness.connect(.viewer(clientID: "v3")) }
    _ = try harness.connect(.master)
    harness.advance(.seconds(1))
    _ = try harness.connect(.viewer(clientID: "v3"))
  }

  @Test("T43 equal events make one line in ten seconds, which counts the others")
  func eventLimiter() {
    var limiter = EventLimiter()
    var now = Instant.zero
    var lines: [UInt64] = []
    for _ in 0..<100_000 {
      if let count = limiter.note("fault", at: now) { lines.append(count) }
      now += .microseconds(250)
    }
    #expect(lines == [1, 40_000, 40_000])
  }
}
