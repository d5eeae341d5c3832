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
  var data: DataFlags
  var relay: RelayFlags
  var network: NetworkFlags

  /// Carries flags as they were typed.
  public init(
    host: String?, port: String?, maxViewers: String?, metrics: Bool, readyFile: String?,
    data: DataFlags = DataFlags(), relay: RelayFlags = RelayFlags(), network: NetworkFlags = NetworkFlags()
  ) {
    self.host = host
    self.port = port
    self.maxViewers = maxViewers
    self.metrics = metrics
    self.readyFile = readyFile
    self.data = data
    self.relay = relay
    self.network = network
  }
}

/// `kvs-webrtc demo`: stand-in, channel, master and page in one process.
public struct DemoProgram: Program {
  /// The channel of the demo.
  static let channel = "demo"

  private let server: LocalKinesisVideoServer
  private let local: LocalKinesisVideoServer.Configuration
  private let network: NetworkLoop.Configuration
  private let viewersMax: Int
  private let dataChannels: DataChannelPolicy
  private let printsMetrics: Bool
  private let readyFile: String?
  private let logger: Logger

  /// Reads and checks all settings.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: DemoFlags, settings: Settings, logger: Logger) async throws {
    // The demo's own service has its own keys: those of a real account in the environment stay out of it.
    var local = LocalKinesisVideoServer.Configuration()
    local.host = settings.text(.host, flag: flags.host) ?? local.host
    local.port = try settings.number(.port, flag: flags.port, in: 0...65_535, default: local.port)
    local.relay = try .make(flags.relay, settings)
    local.otherICEServers = try flags.relay.otherICEServers(settings)
    network = try NetworkLoop.Configuration(flags.network, settings, includesLoopback: true)
    viewersMax = try settings.number(.maxViewers, flag: flags.maxViewers, in: 1...1000, default: 10)
    // Viewers beyond the master's limit get as far as the master, which tells them that the camera is full.
    local.signaling.viewersMax = viewersMax + 10
    dataChannels = try DataChannelPolicy(flags.data, settings)
    printsMetrics = try settings.isOn(.metrics, flag: flags.metrics)
    readyFile = settings.text(.readyFile, flag: flags.readyFile)
    self.local = local
    self.logger = logger
    server = LocalKinesisVideoServer(
      configuration: local, eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
  }

  /// Runs everything until the task is cancelled.
  public func run() async throws {
    let address = try await server.start()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask {
        _ = try await server.createChannelIfMissing(named: Self.channel)
        try await master(at: address).run()
      }
      try await group.next()
      group.cancelAll()
      do { try await group.waitForAll() } catch is CancellationError {}
    }
  }

  private func master(at address: LocalKinesisVideoServer.Address) -> MasterApplication {
    var network = network
    if let path = address.caCertificatePath { network.trustRoots = .file(path) }
    let signaling = SignalingClient.Configuration(
      channelName: Self.channel, role: .master, region: local.region, endpointURL: address.httpURL,
      credentials: AWSCredentials(accessKeyID: local.accessKey, secretAccessKey: local.secretKey))
    return MasterApplication(
      configuration: MasterApplication.Configuration(
        signaling: signaling, clip: SampleClip.clip, viewersMax: viewersMax,
        dataChannels: dataChannels, network: network),
      logger: logger,
      onViewerEnd: { if printsMetrics { Console.print($1.text(ofViewer: $0)) } },
      onConnected: { try tellReady(at: address) },
      onAddresses: { await server.turnServer?.allow(Set($0)) })
  }

  private func tellReady(at address: LocalKinesisVideoServer.Address) throws(UsageError) {
    let greeting = DemoGreeting(
      origin: address.httpURL, host: address.host, port: address.port, interfaces: NetworkInterfaces.current()
    )
    Console.print(greeting.text)
    guard let readyFile else { return }
    let entries = [
      "http": address.httpURL, "page": greeting.page, "region": local.region, "channel": Self.channel,
      "state": "connected",
    ]
    try ReadyFile.write(entries.merging(address.relayEntries) { own, _ in own }, to: readyFile)
  }
}

/// What the demo tells the person who started it.
struct DemoGreeting {
  /// The service's address from this machine.
  let origin: String
  /// The address and port that it listens on.
  let host: String
  let port: Int
  let interfaces: [NetworkInterface]

  private static let path = "/?channel=\(DemoProgram.channel)"

  var page: String { origin + Self.path }

  var text: String {
    var lines = [
      "The camera is on. Open this address in a browser; picture and sound start by themselves:", "",
      "    \(page)", "",
    ]
    if !lanAddresses.isEmpty {
      lines.append("From other devices on your network:")
      lines += lanAddresses.map { "    http://\($0):\(port)\(Self.path)" } + [""]
    }
    if isReachableFromOutside {
      lines.append(
        "Careful: anyone on your network can watch, and the service takes the well-known default keys.")
    }
    return (lines + ["Ctrl-C ends it."]).joined(separator: "\n")
  }

  private var isReachableFromOutside: Bool {
    IPAddress(host).map { !$0.isLoopback } ?? (host != "localhost")
  }

  /// Where the service is found on the network, if it listens on all addresses: `0.0.0.0` means those of IPv4.
  private var lanAddresses: [String] {
    guard let listened = IPAddress(host), listened.isUnspecified else { return [] }
    return NetworkInterfaces.usable(from: interfaces, includingLoopback: false)
      .map(\.address)
      .filter { !$0.isLoopback && !$0.isLinkLocal && (listened.family == .ipv6 || $0.family == .ipv4) }
      .map { $0.family == .ipv6 ? "[\($0)]" : "\($0)" }
  }
}
