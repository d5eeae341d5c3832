// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import KinesisVideo
  import Logging
  import NIOPosix
  import SansIO
  import WebRTC

  /// A viewer of a channel that bridges standard input and output to a data channel of the master. It takes no media.
  struct ViewerApplication: Program {
    /// What a viewer is made with.
    struct Configuration: Sendable {
      /// The signaling session.
      var signaling: SignalingClient.Configuration
      /// The sockets.
      var network: NetworkLoop.Configuration
      /// What goes where.
      var bridge: BridgeConfiguration
      /// The data channel's label.
      var label: String
      /// How long the channel may take to open.
      var timeout: Duration
      /// Where the "ready" note goes.
      var readyFile: String?
    }

    let configuration: Configuration
    let logger: Logger

    /// Runs until the bridge is done or the task is cancelled.
    ///
    /// - Throws: ``KinesisVideoError``, ``NetworkError``, ``ViewerError``, ``StandardStreamError``.
    func run() async throws {
      let loop = try await NetworkLoop(configuration: configuration.network, logger: logger)
      let signaling = SignalingClient(
        configuration: configuration.signaling, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
        httpClient: nil, logger: logger)
      var failure: (any Error)?
      do {
        try await withThrowingTaskGroup(of: Bool.self) { group in
          group.addTask {
            try await signaling.run()
            return true
          }
          group.addTask { try await view(signaling, on: loop) }
          // Where the service refuses, signaling has the reason.
          while let isDone = try await group.next(), !isDone {}
          group.cancelAll()
        }
      } catch { failure = error }
      await loop.shutdown()
      if let failure, !(failure is CancellationError) { throw failure }
    }

    /// Connects to the master and carries messages.
    ///
    /// - Returns: whether it came to that.
    private func view(_ signaling: SignalingClient, on loop: NetworkLoop) async throws -> Bool {
      let timeout = configuration.timeout
      guard
        try await inTime(
          orThrow: { .noService(waited: timeout) }, { await isConnected(signaling, on: loop) })
      else { return false }
      // Sockets of its own, as browsers have: several viewers of one camera may run beside each other.
      let connection = try PeerConnection(
        configuration: PeerConnectionConfiguration(acceptsUnsolicitedMedia: false, sharesSockets: false),
        on: loop)
      let session = MasterSession(connection: connection, on: loop, signaling: signaling, logger: logger)
      var failure: (any Error)?
      do {
        let channel = try await connection.createDataChannel(configuration.label)
        try await session.offer()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await session.followSignaling() }
          group.addTask { try await session.watchPath() }
          group.addTask { await session.sendCandidates() }
          group.addTask {
            try await inTime(orThrow: { session.lateness(after: timeout) }, { try await open(channel) })
            try tellReady(channel)
            try await carry(channel)
            throw Done()
          }
          while try await group.next() != nil {}
        }
      } catch { failure = error }
      await connection.close()
      if let failure, !(failure is Done) { throw failure }
      return true
    }

    /// What ends all tasks when one of them has done the work.
    private struct Done: Error {}

    /// Waits until the WebSocket stands; the relays' addresses come before that.
    private func isConnected(_ signaling: SignalingClient, on loop: NetworkLoop) async -> Bool {
      for await event in signaling.events {
        if case .iceServers(let servers) = event {
          await loop.update(iceServers: ConnectivityServers.make(of: servers))
        }
        if event == .connected { return true }
      }
      return false
    }

    private func open(_ channel: DataChannel) async throws {
      do throws(DataChannelError) {
        try await channel.waitUntilOpen()
      } catch {
        throw error == .cancelled ? CancellationError() : ViewerError.refused as any Error
      }
    }

    /// Does something that may take no longer than the viewer's timeout.
    private func inTime<Result: Sendable>(
      orThrow error: @escaping @Sendable () -> ViewerError,
      _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
      try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
          try await Task.sleep(for: configuration.timeout)
          throw error()
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw CancellationError() }
        return result
      }
    }

    private func tellReady(_ channel: DataChannel) throws(UsageError) {
      let name = configuration.signaling.channelName
      if let readyFile = configuration.readyFile {
        try ReadyFile.write(["channel": name, "label": channel.label, "state": "open"], to: readyFile)
      }
      Console.printError("kvs-webrtc: the data channel \(LogText.escaped(channel.label)) to \(name) is open")
    }

    private func carry(_ channel: DataChannel) async throws {
      let end = try await ChannelBridge(channel, configuration: configuration.bridge).run()
      switch end {
      case .inputSent: logger.info("all input was delivered")
      case .channelClosed: logger.info("the master closed the channel")
      case .readerGone: logger.info("nobody reads the output any more")
      }
    }
  }
#endif
