// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import LocalKinesisVideo
public import Logging
import MediaFiles
import NIOPosix
import SansIO
import WebRTC

/// The flags of `kvs-webrtc demo` as they were typed.
public struct DemoFlags: Sendable {
  var host: String?
  var port: String?
  var maxViewers: String?
  var metrics: Bool
  var readyFile: String?

  /// Carries flags as they were typed.
  public init(host: String?, port: String?, maxViewers: String?, metrics: Bool, readyFile: String?) {
    self.host = host
    self.port = port
    self.maxViewers = maxViewers
    self.metrics = metrics
    self.readyFile = readyFile
  }
}

/// `kvs-webrtc demo`: stand-in, channel, master and page in one process.
public struct DemoProgram: Program {
  /// The channel of the demo.
  static let channel = "demo"

  private let server: LocalKinesisVideoServer
  private let local: LocalKinesisVideoServer.Configuration
  private let settings: Settings
  private let flags: DemoFlags
  private let viewersMax: Int
  private let logger: Logger

  /// Reads and checks all settings.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: DemoFlags, settings: Settings, logger: Logger) async throws {
    // The demo's own service has its own keys: those of a real account in the environment stay out of it.
    var local = LocalKinesisVideoServer.Configuration()
    local.host = settings.text(.host, flag: flags.host) ?? local.host
    local.port = try settings.number(.port, flag: flags.port, in: 0...65_535, default: local.port)
    viewersMax = try settings.number(.maxViewers, flag: flags.maxViewers, in: 1...1000, default: 10)
    local.signaling.viewersMax = max(local.signaling.viewersMax, viewersMax + 1)
    self.local = local
    self.settings = settings
    self.flags = flags
    self.logger = logger
    server = LocalKinesisVideoServer(
      configuration: local, eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
  }

  /// Runs everything until the task is cancelled.
  public func run() async throws {
    let address = try await server.start()
    _ = try await server.createChannelIfMissing(named: Self.channel)
    let master = try master(at: address)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask { try await master.run() }
      try await group.next()
      group.cancelAll()
      do { try await group.waitForAll() } catch is CancellationError {}
    }
  }

  private func master(at address: LocalKinesisVideoServer.Address) throws -> MasterApplication {
    var signaling = SignalingClient.Configuration(
      channelName: Self.channel, role: .master, region: local.region,
      credentials: AWSCredentials(accessKeyID: local.accessKey, secretAccessKey: local.secretKey))
    signaling.endpointURL = address.httpURL
    let configuration = MasterApplication.Configuration(
      signaling: signaling, clip: SampleClip.clip, viewersMax: viewersMax,
      printsMetrics: try settings.isOn(.metrics, flag: flags.metrics),
      network: NetworkLoop.Configuration(includesLoopback: true))
    let greeting = Greeting(local: local, address: address)
    let readyFile = settings.text(.readyFile, flag: flags.readyFile)
    return MasterApplication(configuration: configuration, logger: logger) {
      await greeting.printOnce()
      guard let readyFile else { return }
      try ReadyFile.write(
        [
          "http": address.httpURL, "page": "\(address.httpURL)/?channel=\(Self.channel)",
          "region": greeting.region, "channel": Self.channel, "state": "connected",
        ], to: readyFile)
    }
  }
}

/// What the demo tells the person who started it, once.
private actor Greeting {
  nonisolated let region: String
  private let local: LocalKinesisVideoServer.Configuration
  private let address: LocalKinesisVideoServer.Address
  private var isPrinted = false

  init(local: LocalKinesisVideoServer.Configuration, address: LocalKinesisVideoServer.Address) {
    self.local = local
    self.address = address
    region = local.region
  }

  func printOnce() {
    guard !isPrinted else { return }
    isPrinted = true
    let query = "/?channel=\(DemoProgram.channel)"
    var lines = [
      "The camera is on. Open this address in a browser; picture and sound start by themselves:", "",
      "    \(address.httpURL)\(query)", "",
    ]
    if isReachableFromOutside {
      lines.append("From other devices on your network:")
      lines += lanAddresses.map { "    http://\($0):\(address.port)\(query)" }
      lines.append("")
      lines.append(
        "Careful: anyone on your network can watch, and the service takes the well-known default keys.")
    }
    lines.append("Ctrl-C ends it.")
    print(lines.joined(separator: "\n"))
  }

  private var isReachableFromOutside: Bool {
    guard let ip = IPAddress(address.host) else { return address.host != "localhost" }
    return !ip.isLoopback
  }

  private var lanAddresses: [String] {
    NetworkInterfaces.usable(from: NetworkInterfaces.current(), includingLoopback: false)
      .filter { !$0.address.isLoopback && !$0.address.isLinkLocal }
      .map { $0.address.family == .ipv6 ? "[\($0.address)]" : "\($0.address)" }
  }
}
