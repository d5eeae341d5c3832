// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SansIO
import Testing
import WebRTC
import WebRTCCore

/// Two network loops with sockets of their own on loopback, and real connections between them.
@Suite("PeerConnection over real sockets", .timeLimit(.minutes(2)))
struct PeerConnectionTests {
  @Test(
    "offer, answer, connected on both sides; frames arrive as they were sent; a close is seen by the peer")
  func mediaFlows() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let frames = (0..<30).map { TestMedia.picture(number: $0, isKeyFrame: $0 % 10 == 0) }
    for frame in frames { viewer.sender.video.send(frame.packetized) }
    var pictures: [MediaFrame] = []
    for await picture in viewer.receiver.video.frames.prefix(frames.count) { pictures.append(picture) }
    #expect(pictures.map(\.isKeyFrame) == frames.map(\.packetized.isKeyFrame))
    #expect(pictures.map(\.bytes) == frames.map(\.accessUnit))
    let sound: [UInt8] = [0xfc, 1, 2, 3]
    viewer.sender.audio.send(
      OpusPacketizer().packetize(packet: sound, timestamp: 960, captureTime: NetworkClock.now))
    for await received in viewer.receiver.audio.frames.prefix(1) { #expect(received.bytes == sound) }

    let report = try await viewer.sender.connection.statistics()
    #expect(report.outboundRTP.contains { $0.kind == .video && $0.framesSent == 30 })
    #expect(report.transport.dtlsState == "connected")

    await viewer.sender.connection.close()
    try await viewer.receiver.connection.waitFor(.closed)
    await bench.shutdown()
  }

  @Test("a key frame request of the receiver comes out at the sender")
  func keyFrameRequest() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    // A picture first: a request names the stream that it is about.
    viewer.sender.video.send(TestMedia.picture(number: 0, isKeyFrame: true).packetized)
    for await _ in viewer.receiver.video.frames.prefix(1) {}
    viewer.receiver.video.requestKeyFrame()
    var requests = 0
    for await _ in viewer.sender.video.keyFrameRequests.prefix(1) { requests += 1 }
    #expect(requests == 1)
    await bench.shutdown()
  }

  @Test("one broadcast reaches all members; one that comes late begins with a key frame")
  func broadcast() async throws {
    let bench = try await Bench()
    let broadcast = Broadcast()
    var viewers: [Viewer] = []
    for _ in 0..<4 {
      let viewer = try await bench.makeViewer()
      try await viewer.connect()
      viewers.append(viewer)
    }
    for viewer in viewers.dropLast() { _ = broadcast.add(viewer.sender.connection, viewer.sender.tracks) }
    let pictures = (0..<20).map { TestMedia.picture(number: $0, isKeyFrame: $0 % 10 == 0) }
    for picture in pictures[..<5] { broadcast.send(picture.packetized, track: .video) }
    _ = broadcast.add(viewers[3].sender.connection, viewers[3].sender.tracks)
    for picture in pictures[5...] { broadcast.send(picture.packetized, track: .video) }
    for (index, viewer) in viewers.enumerated() {
      let expected = index == 3 ? pictures[10...] : pictures[...]
      var received: [[UInt8]] = []
      for await frame in viewer.receiver.video.frames.prefix(expected.count) { received.append(frame.bytes) }
      #expect(received == expected.map(\.accessUnit))
    }
    #expect(await broadcast.memberCount() == 4)
    await viewers[0].sender.connection.close()
    broadcast.send(pictures[0].packetized, track: .video)
    #expect(await broadcast.memberCount() == 3)
    await bench.shutdown()
  }

  @Test("a member that was given the running group goes on from there")
  func restart() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let broadcast = Broadcast()
    let pictures = (0..<8).map { TestMedia.picture(number: $0, isKeyFrame: $0 == 0) }
    for picture in pictures[..<5] { broadcast.send(picture.packetized, track: .video) }
    let member = broadcast.add(viewer.sender.connection, viewer.sender.tracks)
    broadcast.send(pictures[..<5].map(\.packetized), track: .video, to: member)
    for picture in pictures[5..<7] { broadcast.send(picture.packetized, track: .video) }
    var received: [[UInt8]] = []
    for await frame in viewer.receiver.video.frames.prefix(7) { received.append(frame.bytes) }
    #expect(received == pictures[..<7].map(\.accessUnit))
    broadcast.remove(member)
    #expect(await broadcast.memberCount() == 0)
    await bench.shutdown()
  }

  @Test("a restart of ICE, once taken back and then done, changes the credentials and costs no frame")
  func restartsICE() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let (sender, receiver) = (viewer.sender.connection, viewer.receiver.connection)
    let before = try await sender.statistics().transport.iceLocalUsernameFragment
    let standing = sender.localDescription
    try await sender.restartICE()
    let withdrawn = try await sender.setLocalDescription()
    #expect(sender.localDescription == withdrawn)
    try await sender.setLocalDescription(.rollback)
    #expect(sender.localDescription == standing)
    #expect(sender.signalingState == .stable)
    let pictures = (0..<20).map { TestMedia.picture(number: $0, isKeyFrame: $0 == 0) }
    for picture in pictures[..<10] { viewer.sender.video.send(picture.packetized) }
    let offer = try await sender.createOffer(iceRestart: true)
    try await sender.setLocalDescription(offer)
    try await receiver.setRemoteDescription(offer)
    let answer = try await receiver.setLocalDescription()
    try await sender.setRemoteDescription(answer)
    for picture in pictures[10...] { viewer.sender.video.send(picture.packetized) }
    var received: [[UInt8]] = []
    for await frame in viewer.receiver.video.frames.prefix(20) { received.append(frame.bytes) }
    #expect(received == pictures.map(\.accessUnit))
    let after = try await sender.statistics().transport.iceLocalUsernameFragment
    #expect(after != before)
    #expect(!withdrawn.sdp.contains(after))
    #expect(sender.connectionState == .connected)
    #expect(receiver.connectionState == .connected)
    await bench.shutdown()
  }

  @Test("T45 a peer whose candidates cannot be sent to does no harm to the others on the same socket")
  func hostileCandidates() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let hostile = try await bench.makeViewer()
    try await hostile.negotiate()
    for (index, address) in [
      "127.0.0.1 0", "255.255.255.255 9", "127.255.255.255 9", "224.0.0.1 9", "0.0.0.0 9", "192.0.2.1 9",
      ":: 9", "::ffff:127.0.0.1 9", "ff02::1 9",
    ].enumerated() {
      try await hostile.sender.connection.addICECandidate(
        ICECandidateInit(candidate: "candidate:\(index) 1 udp 2130706431 \(address) typ host", sdpMid: "0"))
    }
    let pictures = (0..<40).map { TestMedia.picture(number: $0, isKeyFrame: $0 == 0) }
    for picture in pictures { viewer.sender.video.send(picture.packetized) }
    var received = 0
    for await frame in viewer.receiver.video.frames.prefix(pictures.count) {
      #expect(frame.bytes == pictures[received].accessUnit)
      received += 1
    }
    #expect(received == pictures.count)
    await bench.shutdown()
  }

  @Test("an offer without a description to answer, and calls after the end, are typed errors")
  func errors() async throws {
    let bench = try await Bench()
    let connection = try PeerConnection(on: bench.loop)
    await #expect(throws: PeerConnectionError.self) { try await connection.createAnswer() }
    await #expect(throws: PeerConnectionError.self) {
      try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: "nonsense"))
    }
    await connection.close()
    await connection.close()
    #expect(connection.connectionState == .closed)
    await #expect(throws: PeerConnectionError.self) { try await connection.createOffer() }
    for await _ in connection.candidates {}
    for await _ in connection.events {}
    await bench.shutdown()
    #expect(throws: NetworkError.shutDown) { try PeerConnection(on: bench.loop) }
  }

  @Test("a loop takes as many connections as it was told, and a released one makes room without a close")
  func limit() async throws {
    let loop = try await NetworkLoop(
      configuration: .init(addresses: [IPAddress(ipv4: 0x7f00_0001)], connectionsMax: 2))
    var connections = [try PeerConnection(on: loop), try PeerConnection(on: loop)]
    #expect(throws: NetworkError.tooManyConnections(limit: 2)) { try PeerConnection(on: loop) }
    connections.removeAll()
    // Statistics run on the loop, after the closing that the release posted there.
    _ = await loop.statistics()
    #expect(await loop.statistics().connectionCount == 0)
    _ = try PeerConnection(on: loop)
    await loop.shutdown()
  }

  @Test("T40 closing at any point of a negotiation ends everything and leaves nothing behind")
  func closeAtAnyPoint() async throws {
    let bench = try await Bench()
    var random = RandomSource(seed: 40)
    for _ in 0..<40 {
      let viewer = try await bench.makeViewer()
      let delay = Int.random(in: 0..<200, using: &random)
      await withTaskGroup(of: Void.self) { group in
        group.addTask { _ = try? await viewer.negotiate() }
        group.addTask {
          for await _ in viewer.sender.connection.connectionStates {}
        }
        group.addTask {
          for await _ in viewer.sender.video.frames {}
        }
        group.addTask {
          for _ in 0..<delay { await Task.yield() }
          await viewer.sender.connection.close()
          await viewer.receiver.connection.close()
        }
        group.addTask { await viewer.sender.connection.close() }
      }
      #expect(viewer.sender.connection.connectionState == .closed)
    }
    #expect(await bench.loop.statistics().connectionCount == 0)
    await bench.shutdown()
  }

  @Test("a stranger's checks are counted and cost no connection anything")
  func strangers() async throws {
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let other = try await NetworkLoop(configuration: .init(addresses: [IPAddress(ipv4: 0x7f00_0001)]))
    let stranger = try await Bench(senderLoop: other).makeViewer()
    // Checks for a user name that nobody has: the stranger believes that our loop is its peer.
    try await stranger.negotiate(redirectingCandidatesTo: bench.loop.localAddresses[0])
    viewer.sender.video.send(TestMedia.picture(number: 0, isKeyFrame: true).packetized)
    for await _ in viewer.receiver.video.frames.prefix(1) {}
    while await bench.loop.statistics().drops[.unknownUsernameFragment] == 0 { await Task.yield() }
    #expect(viewer.sender.connection.connectionState == .connected)
    await stranger.sender.connection.close()
    await other.shutdown()
    await bench.shutdown()
  }
}

/// Two loops on loopback: one for senders, one for receivers.
struct Bench {
  let loop: NetworkLoop
  let receiverLoop: NetworkLoop

  init(senderLoop: NetworkLoop? = nil) async throws {
    let configuration = NetworkLoop.Configuration(addresses: [IPAddress(ipv4: 0x7f00_0001)])
    if let senderLoop {
      loop = senderLoop
    } else {
      loop = try await NetworkLoop(configuration: configuration)
    }
    receiverLoop = try await NetworkLoop(configuration: configuration)
  }

  func makeViewer() async throws -> Viewer {
    Viewer(
      sender: try await Side(on: loop, direction: .sendonly),
      receiver: try await Side(on: receiverLoop, direction: .recvonly))
  }

  func shutdown() async {
    await loop.shutdown()
    await receiverLoop.shutdown()
  }
}

/// One end of a test connection, with a transceiver of each kind.
struct Side: Sendable {
  let connection: PeerConnection
  let video: Transceiver
  let audio: Transceiver

  init(on loop: NetworkLoop, direction: MediaDirection) async throws {
    // Receivers have sockets of their own, as browsers do; senders share those of their loop.
    connection = try PeerConnection(
      configuration: .init(sharesSockets: direction == .sendonly), on: loop)
    video = try await connection.addTransceiver(
      .video, TransceiverInit(direction: direction, codecs: [.h264ConstrainedBaseline]))
    audio = try await connection.addTransceiver(
      .audio, TransceiverInit(direction: direction, codecs: [.opus]))
  }

  var tracks: [Broadcast.Track: Transceiver] { [.video: video, .audio: audio] }
}

/// A sending connection and its receiver; the receiver offers, as viewers do.
struct Viewer: Sendable {
  let sender: Side
  let receiver: Side

  func negotiate(redirectingCandidatesTo address: TransportAddress? = nil) async throws {
    let offer = try await receiver.connection.setLocalDescription()
    try await sender.connection.setRemoteDescription(offer)
    let answer = try await sender.connection.setLocalDescription()
    guard let address else {
      try await receiver.connection.setRemoteDescription(answer)
      return
    }
    try await sender.connection.addICECandidate(
      ICECandidateInit(
        candidate: "candidate:9 1 udp 2130706431 \(address.ip) \(address.port) typ host", sdpMid: "0"))
  }

  func connect() async throws {
    try await negotiate()
    try await sender.connection.waitFor(.connected)
    try await receiver.connection.waitFor(.connected)
  }
}

extension PeerConnection {
  struct EndedInState: Error { let state: PeerConnectionState }

  /// Waits for a state; the suite's time limit ends a wait in vain.
  func waitFor(_ wanted: PeerConnectionState) async throws {
    var last = PeerConnectionState.new
    for await state in connectionStates {
      last = state
      if state == wanted { return }
      if state == .failed { break }
    }
    throw EndedInState(state: last)
  }
}

/// Pictures that look like H.264 from outside: parameter sets and an IDR slice, or a slice.
enum TestMedia {
  static func picture(number: Int, isKeyFrame: Bool) -> (accessUnit: [UInt8], packetized: PacketizedFrame) {
    let startCode: [UInt8] = [0, 0, 0, 1]
    let slice = (0..<4000).map { UInt8(truncatingIfNeeded: ($0 + number) % 250 + 4) }
    var accessUnit: [UInt8] = []
    if isKeyFrame {
      accessUnit +=
        startCode + [0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40] + startCode + [0x68, 0xce, 0x3c, 0x80]
    }
    accessUnit += startCode + [isKeyFrame ? 0x65 : 0x41] + slice
    let frame = H264Packetizer(maximumPayloadByteCount: 1140).packetize(
      annexB: accessUnit, timestamp: UInt32(number) * 3600, captureTime: NetworkClock.now)
    guard let frame else { preconditionFailure("a picture has packets") }
    return (accessUnit, frame)
  }
}
