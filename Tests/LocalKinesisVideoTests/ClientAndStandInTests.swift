// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import LocalKinesisVideo
import Logging
import NIOCore
import NIOPosix
import SansIO
import Testing

@Suite("The project's own client and stand-in understand each other", .timeLimit(.minutes(1)))
struct ClientAndStandInTests {
  private func makeClient(_ role: SignalingRole, _ address: LocalKinesisVideoServer.Address)
    -> SignalingClient
  {
    SignalingClient(
      configuration: SignalingClient.Configuration(
        channelName: "porch", role: role, region: "us-west-2", endpointURL: address.httpURL,
        credentials: AWSCredentials(accessKeyID: "local", secretAccessKey: Secret("local-secret")),
        createChannelIfMissing: role == .master),
      eventLoopGroup: .singletonMultiThreadedEventLoopGroup, httpClient: nil,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Reads events until one is of interest.
  private func first<Result>(
    of client: SignalingClient, _ select: (SignalingEvent) -> Result?
  ) async throws -> Result {
    for await event in client.events {
      if let result = select(event) { return result }
    }
    throw CancellationError()
  }

  @Test("a master makes its channel, a viewer offers, the master answers, both trickle")
  func session() async throws {
    var configuration = LocalKinesisVideoServer.Configuration()
    configuration.port = 0
    let server = LocalKinesisVideoServer(
      configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let address = try await server.start()
    let master = makeClient(.master, address)
    let viewer = makeClient(.viewer(clientID: "viewer-1"), address)
    let masterRun = Task { try await master.run() }
    try await first(of: master) { $0 == .connected ? () : nil }
    let viewerRun = Task { try await viewer.run() }
    try await first(of: viewer) { $0 == .connected ? () : nil }

    viewer.send(.offer(sdp: "v=0\r\no=viewer\r\n", to: nil))
    let offer = try await first(of: master) { event -> (String, String)? in
      if case .offer(let sdp, let sender) = event { (sdp, sender) } else { nil }
    }
    #expect(offer == ("v=0\r\no=viewer\r\n", "viewer-1"))
    master.send(.answer(sdp: "v=0\r\no=master\r\n", to: offer.1))
    let candidate = ICECandidatePayload(
      candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host", sdpMid: "0", sdpMLineIndex: 0,
      usernameFragment: nil)
    master.send(.candidate(candidate, to: offer.1))
    let answer = try await first(of: viewer) { event -> String? in
      if case .answer(let sdp, _) = event { sdp } else { nil }
    }
    #expect(answer == "v=0\r\no=master\r\n")
    let trickled = try await first(of: viewer) { event -> ICECandidatePayload? in
      if case .iceCandidate(let candidate, _) = event { candidate } else { nil }
    }
    #expect(trickled == candidate)

    masterRun.cancel()
    viewerRun.cancel()
    _ = await masterRun.result
    _ = await viewerRun.result
    await server.shutdown()
  }
}
