// SPDX-License-Identifier: Apache-2.0

import SDP
import SansIO
import Testing
import WebRTCCore

@testable import WebRTC

/// What a connection holds is let go with it: a master serves viewers for months.
@Suite("Connections release what they hold", .timeLimit(.minutes(1)))
struct ReleaseTests {
  /// Remembers objects without keeping them.
  private final class Witness {
    weak var connection: PeerConnection?
    weak var transceiver: Transceiver?
  }

  private func makeAndClose(on loop: NetworkLoop, _ witness: Witness) async throws {
    let connection = try PeerConnection(on: loop)
    let transceiver = try await connection.addTransceiver(
      .video, TransceiverInit(direction: .sendonly, codecs: [.h264ConstrainedBaseline]))
    witness.connection = connection
    witness.transceiver = transceiver
    #expect(connection.transceivers.count == 1)
    await connection.close()
    #expect(connection.transceivers.isEmpty)
  }

  @Test("A connection that was closed and let go leaves neither itself nor its transceivers behind")
  func releases() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [IPAddress(ipv4: 0x7f00_0001)]))
    let witness = Witness()
    try await makeAndClose(on: loop, witness)
    // A round through the loop, so that nothing of the closing is under way any more.
    let count = await loop.statistics().connectionCount
    #expect(count == 0)
    let isReleased = witness.connection == nil && witness.transceiver == nil
    #expect(isReleased)
    await loop.shutdown()
  }

  @Test("A loop that was shut down leaves neither its servers' driver nor its connections to them behind")
  func releasesServers() async throws {
    final class ServerWitness: @unchecked Sendable { weak var driver: GathererDriver? }
    let server = try await TestTURNServer()
    let witness = ServerWitness()
    func run() async throws {
      var configuration = NetworkLoop.Configuration(addresses: [IPAddress(ipv4: 0x7f00_0001)])
      configuration.iceServers = [try server.iceServer([.udp, .dtls, .tcp, .tls])]
      configuration.trustRoots = .pem(try TestCertificates.pem("authority"))
      let loop = try await NetworkLoop(configuration: configuration)
      while await loop.statistics().spareRelayCount == 0 { await Task.yield() }
      await loop.run { state, _ in witness.driver = state.servers }
      await loop.shutdown()
    }
    try await run()
    // What is under way on the event loop keeps it a little longer.
    while witness.driver != nil { await Task.yield() }
    #expect(await server.allocationCount() == 0)
    await server.kill()
  }
}
