// SPDX-License-Identifier: Apache-2.0

import KVSApplications
import KinesisVideo
import LocalKinesisVideo
import Logging
import MediaFiles
import NIOCore
import NIOPosix
import SansIO
import Synchronization
import Testing
import WebRTC

/// Something did not happen.
struct Missed: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Waits for `body`, which ends in vain when the time is over: it is cancelled, so that its streams end.
///
/// The time is for machines that are busy with something else; nothing waits for it when all is well.
func within<Result: Sendable>(
  seconds: Int64 = 60, _ what: String, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
  let work = Task { try await body() }
  let deadline = MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .seconds(seconds)) {
    work.cancel()
  }
  defer { deadline.cancel() }
  do {
    return try await withTaskCancellationHandler {
      try await work.value
    } onCancel: {
      work.cancel()
    }
  } catch {
    throw work.isCancelled ? Missed("\(what): not within \(seconds) s (\(error))") : error
  }
}

/// A log that keeps its lines.
final class CapturedLog: Sendable {
  private let storage = Mutex<[String]>([])

  var lines: [String] { storage.withLock { $0 } }

  func count(of text: String) -> Int { lines.count { $0.contains(text) } }

  var logger: Logger {
    var logger = Logger(label: "test") { _ in Handler(log: self) }
    logger.logLevel = .trace
    return logger
  }

  private struct Handler: LogHandler {
    let log: CapturedLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let line = "\(event.level) \(event.message) \(metadata.merging(event.metadata ?? [:]) { $1 })"
      log.storage.withLock { $0.append(line) }
    }
  }
}

/// The service, a master that plays the sample clip, and the network of its viewers: all in this process, over real
/// sockets on loopback.
final class Stage: Sendable {
  static let channel = "stage"
  static let loopback = NetworkLoop.Configuration(addresses: [IPAddress(ipv4: 0x7f00_0001)])

  let log: CapturedLog
  let server: LocalKinesisVideoServer
  let httpURL: String
  let viewerLoop: NetworkLoop
  /// The viewers that the master is done with, and their durations.
  let departures: AsyncStream<(clientID: String, metrics: ConnectionMetrics)>
  private let departed: AsyncStream<(clientID: String, metrics: ConnectionMetrics)>.Continuation

  private init(log: CapturedLog, server: LocalKinesisVideoServer, httpURL: String, viewerLoop: NetworkLoop) {
    self.log = log
    self.server = server
    self.httpURL = httpURL
    self.viewerLoop = viewerLoop
    (departures, departed) = AsyncStream.makeStream()
  }

  /// Lets `body` act on a stage, and clears it away.
  static func use(_ body: (Stage) async throws -> Void) async throws {
    let log = CapturedLog()
    var configuration = LocalKinesisVideoServer.Configuration()
    configuration.port = 0
    let server = LocalKinesisVideoServer(
      configuration: configuration, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
      logger: Logger(label: "service") { _ in SwiftLogNoOpLogHandler() })
    let address = try await server.start()
    _ = try await server.createChannelIfMissing(named: channel)
    let stage = Stage(
      log: log, server: server, httpURL: address.httpURL,
      viewerLoop: try await NetworkLoop(configuration: loopback, logger: log.logger))
    let result: Result<Void, any Error>
    do { result = .success(try await body(stage)) } catch { result = .failure(error) }
    await stage.viewerLoop.shutdown()
    await server.shutdown()
    if case .failure(let error) = result { print(log.lines.suffix(60).joined(separator: "\n"), error) }
    try result.get()
  }

  /// Lets `body` act while a master serves, then ends the master as Ctrl-C does.
  func withMaster(
    viewersMax: Int = 10, dataChannels: DataChannelPolicy = .standard,
    _ body: (RunningMaster) async throws -> Void
  ) async throws {
    let (ready, isReady) = AsyncStream.makeStream(of: Void.self)
    let application = master(viewersMax: viewersMax, dataChannels: dataChannels) { isReady.yield() }
    let running = RunningMaster(task: Task { try await application.run() })
    defer { running.task.cancel() }
    try await within("the master is connected") {
      guard await ready.first(where: { true }) != nil else { throw Missed("the master ended") }
    }
    try await body(running)
    try await running.end()
  }

  func master(
    channel: String = channel, secret: String = "local-secret", viewersMax: Int = 10,
    dataChannels: DataChannelPolicy = .standard,
    onConnected: @escaping @Sendable () -> Void = {}
  ) -> MasterApplication {
    MasterApplication(
      configuration: MasterApplication.Configuration(
        signaling: signaling(.master, channel: channel, secret: secret), clip: SampleClip.clip,
        viewersMax: viewersMax, dataChannels: dataChannels, network: Self.loopback),
      logger: log.logger, onViewerEnd: { [departed] in departed.yield(($0, $1)) }, onConnected: onConnected)
  }

  func signaling(
    _ role: SignalingRole, channel: String = channel, secret: String = "local-secret"
  ) -> SignalingClient.Configuration {
    SignalingClient.Configuration(
      channelName: channel, role: role, region: "us-west-2", endpointURL: httpURL,
      credentials: AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(secret)))
  }

  /// Waits until the master is done with a viewer.
  @discardableResult
  func departure(of clientID: String) async throws -> ConnectionMetrics {
    try await within("the master is done with \(clientID)") { [departures] in
      for await departure in departures where departure.clientID == clientID { return departure.metrics }
      throw Missed("the master is not done with \(clientID)")
    }
  }
}

/// A master at work.
struct RunningMaster: Sendable {
  let task: Task<Void, any Error>

  /// Ends it as Ctrl-C does.
  func end() async throws {
    task.cancel()
    try await within("the master ended") { [task] in try await task.value }
  }
}
