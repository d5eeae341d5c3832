// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import ICE
import KinesisVideo
import Logging
import NIOPosix
import SansIO
import Testing

@testable import LocalKinesisVideo

@Suite("The stand-in hands out its TURN server", .timeLimit(.minutes(2)))
struct RelayOfferTests {
  private static let path = "/v1/get-ice-server-config"

  private static func offer(hosts: [String] = ["127.0.0.1"], tlsPort: Int? = 5349) -> RelayOffer {
    RelayOffer(hosts: hosts, port: 3478, tlsPort: tlsPort, secret: Secret([1, 2, 3]))
  }

  /// The servers that a channel's client is told.
  private static func servers(
    _ harness: inout ServiceHarness, authority: String = ServiceHarness.authority
  ) throws -> [KinesisVideoShapes.ICEServerEntry] {
    let arn = try harness.createChannel()
    let request = harness.request(path, body: #"{"ChannelARN":"\#(arn)"}"#, authority: authority)
    let response = harness.service.respond(to: request, at: harness.now)
    #expect(response.status == 200)
    return try JSONDecoder().decode(
      KinesisVideoShapes.GetIceServerConfigResponse.self, from: Data(response.body)
    ).iceServerList
  }

  @Test("AT-47 ICE servers: Ttl 300, three URIs, a user name of expiry and channel, a password, no stun URI")
  func credentials() throws {
    var harness = ServiceHarness(relay: Self.offer())
    let arn = try harness.createChannel()
    let servers = try Self.servers(&harness)
    #expect((1...2).contains(servers.count))
    let server = try #require(servers.first)
    #expect(server.ttl == 300)
    #expect(
      server.uris == [
        "turn:127.0.0.1:3478?transport=udp", "turn:127.0.0.1:3478?transport=tcp",
        "turns:127.0.0.1:5349?transport=tcp",
      ])
    let username = try #require(server.username)
    let expiry = harness.now.unixMilliseconds / 1000 + 300
    #expect(username == "\(expiry):" + Data("v1:\(arn)".utf8).base64EncodedString())
    #expect(server.password?.utf8.count == 44)
    let expected = TURNCredentials(
      identity: String(username.drop { $0 != ":" }.dropFirst()), expiry: expiry, secret: Secret([1, 2, 3]))
    #expect(server.password == expected.password.unredacted)
  }

  @Test(
    "a server on all interfaces is handed out under the address that its client used",
    arguments: [
      ("192.168.1.5:8080", "192.168.1.5"), ("camera.local:8080", "camera.local"),
      ("localhost:8080", "127.0.0.1"),
      ("[2001:db8::5]:8080", "[2001:db8::5]"),
    ])
  func hostOfTheRequest(authority: String, host: String) throws {
    var harness = ServiceHarness(relay: Self.offer(hosts: [], tlsPort: nil))
    let servers = try Self.servers(&harness, authority: authority)
    #expect(
      servers.first?.uris == ["turn:\(host):3478?transport=udp", "turn:\(host):3478?transport=tcp"])
  }

  @Test("a server that is reached over both families is handed out as two, each of three URIs")
  func bothFamilies() throws {
    var harness = ServiceHarness(relay: Self.offer(hosts: ["203.0.113.10", "2001:db8::10"]))
    let servers = try Self.servers(&harness)
    #expect(servers.map(\.uris.count) == [3, 3])
    #expect(
      servers.map(\.uris.first) == [
        "turn:203.0.113.10:3478?transport=udp", "turn:[2001:db8::10]:3478?transport=udp",
      ])
    #expect(servers.first?.password == servers.last?.password)
  }

  @Test("AT-48 credentials of GetIceServerConfig open an allocation before their time ends, and 401 after it")
  func expiry() async throws {
    try await TURNServerHarness.run { server in
      let now = ServiceTime.systemNow
      for (secondsAgo, expected) in [(0, nil), (200, nil), (301, STUNErrorCode.unauthenticated)] {
        var harness = ServiceHarness(relay: server.server.offer)
        harness.now = ServiceTime(
          instant: now.instant, unixMilliseconds: now.unixMilliseconds - Int64(secondsAgo) * 1000)
        let entry = try #require(try Self.servers(&harness).first)
        var client = try TURNTestClient(
          await .stream(toPort: server.port), port: server.port, username: try #require(entry.username),
          password: try #require(entry.password))
        #expect(try await client.allocate().error == expected, "\(secondsAgo) s old")
        await client.socket.close()
      }
    }
  }

  @Test("a running stand-in hands out its own TURN server, which takes what it handed out")
  func wholeServer() async throws {
    var configuration = LocalKinesisVideoServer.Configuration()
    configuration.port = 0
    var relay = TURNServer.Configuration()
    relay.port = 0
    relay.tlsPort = 0
    configuration.relay = relay
    let server = LocalKinesisVideoServer(
      configuration: configuration, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let address = try await server.start()
    let port = try #require(address.relay?.port)
    let certificate = try #require(address.caCertificatePath)
    let arn = try await server.createChannelIfMissing(named: "porch")
    let host = try #require(HostHeader(parsing: "127.0.0.1:8080"))
    let entries = try await server.withService { service, now in
      service.iceServers(forChannel: arn, host: host, at: now)
    }
    let entry = try #require(entries.first)
    #expect(entry.uris.first == "turn:127.0.0.1:\(port)?transport=udp")
    let pem = try String(decoding: Data(contentsOf: URL(filePath: certificate)), as: UTF8.self)
    // Without a name the certificate has to be one for the address.
    for name in ["localhost", nil] {
      var client = try TURNTestClient(
        await .stream(toPort: try #require(address.relay?.tlsPort), trusting: pem, serverName: name),
        port: port,
        username: try #require(entry.username), password: try #require(entry.password))
      #expect(try await client.allocate().error == nil)
      await client.socket.close()
    }
    await server.shutdown()
    #expect(!FileManager.default.fileExists(atPath: certificate))
  }
}

@Suite("The stand-in's own certificate authority")
struct LocalCertificateAuthorityTests {
  private static func withFolder(_ body: (String) throws -> Void) throws {
    var random = RandomSource.system
    let folder = FileManager.default.temporaryDirectory.path + "/kvs-authority-\(random.next())"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  @Test("a folder keeps the authority, and its key for the owner alone")
  func kept() throws {
    try Self.withFolder { folder in
      let first = try LocalCertificateAuthority(directory: folder)
      let second = try LocalCertificateAuthority(directory: folder)
      #expect(first.certificatePEM == second.certificatePEM)
      let stored = try Data(contentsOf: URL(filePath: LocalCertificateAuthority.certificatePath(in: folder)))
      #expect(String(decoding: stored, as: UTF8.self) == first.certificatePEM)
      let rights = try FileManager.default.attributesOfItem(atPath: folder + "/ca-key.pem")[.posixPermissions]
      #expect(rights as? Int == 0o600)
      #expect(try LocalCertificateAuthority().certificatePEM != first.certificatePEM)
    }
  }

  @Test("what a folder holds and is no authority is told by its path")
  func broken() throws {
    try Self.withFolder { folder in
      _ = try LocalCertificateAuthority(directory: folder)
      let path = LocalCertificateAuthority.certificatePath(in: folder)
      // The certificate of another authority: it does not go with the key.
      try Data(LocalCertificateAuthority().certificatePEM.utf8).write(to: URL(filePath: path))
      #expect(throws: LocalServerError.unreadableData(path: path)) {
        try LocalCertificateAuthority(directory: folder)
      }
    }
  }
}
