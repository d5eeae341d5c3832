// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import LocalKinesisVideo
public import Logging
import NIOPosix
import SansIO

/// The flags of `kvs-webrtc local` as they were typed.
public struct LocalFlags: Sendable {
  var host: String?
  var port: String?
  var dataDirectory: String?
  var region: String?
  var accessKey: String?
  var secretKey: String?
  var readyFile: String?
  var relay: RelayFlags

  /// Carries flags as they were typed.
  public init(
    host: String? = nil, port: String? = nil, dataDirectory: String? = nil, region: String? = nil,
    accessKey: String? = nil, secretKey: String? = nil, readyFile: String? = nil,
    relay: RelayFlags = RelayFlags()
  ) {
    self.host = host
    self.port = port
    self.dataDirectory = dataDirectory
    self.region = region
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.readyFile = readyFile
    self.relay = relay
  }
}

/// `kvs-webrtc local`: the stand-in of the service, with its page.
public struct LocalProgram: Program {
  private let server: LocalKinesisVideoServer
  private let region: String
  private let readyFile: String?

  /// Reads and checks all settings.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: LocalFlags, settings: Settings, logger: Logger) async throws {
    let configuration = try Self.configuration(flags, settings)
    region = configuration.region
    readyFile = settings.text(.readyFile, flag: flags.readyFile)
    server = LocalKinesisVideoServer(
      configuration: configuration, eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
  }

  static func configuration(
    _ flags: LocalFlags, _ settings: Settings
  ) throws(UsageError) -> LocalKinesisVideoServer.Configuration {
    var configuration = LocalKinesisVideoServer.Configuration()
    configuration.host = settings.text(.host, flag: flags.host) ?? configuration.host
    configuration.port = try settings.number(
      .port, flag: flags.port, in: 0...65_535, default: configuration.port)
    let region = try settings.value(.region, flag: flags.region, ServiceRegion.init)
    configuration.region = region?.name ?? configuration.region
    configuration.dataDirectory = settings.text(.dataDirectory, flag: flags.dataDirectory)
    if let key = settings.text(.localAccessKey, flag: flags.accessKey) { configuration.accessKey = key }
    if let secret = settings.text(.localSecretKey, flag: flags.secretKey) {
      configuration.secretKey = Secret(secret)
    }
    configuration.relay = try .make(flags.relay, settings)
    configuration.otherICEServers = try flags.relay.otherICEServers(settings)
    return configuration
  }

  /// Serves until the task is cancelled.
  public func run() async throws {
    let address = try await server.start()
    if let readyFile {
      let entries = ["http": address.httpURL, "page": address.httpURL + "/", "region": region]
      try ReadyFile.write(entries.merging(address.relayEntries) { own, _ in own }, to: readyFile)
    }
    Console.print(
      """
      The local Kinesis Video service listens on \(address.httpURL) and plays region \(region).
      Viewer page: \(address.httpURL)/
      \(address.relayText)
      Ctrl-C ends it.
      """)
    try await server.run()
  }
}
