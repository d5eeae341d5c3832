// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SansIO
  import Synchronization
  import SystemPackage
  import WebRTC

  /// Standard input and output on the two ends of an open data channel.
  ///
  /// Either direction waits for the other end of its pipe: input is read only as fast as the channel takes it, and
  /// messages only as fast as the output does.
  final class ChannelBridge: Sendable {
    /// Why a bridge is done.
    enum End: Hashable, Sendable {
      /// All input was sent, and delivered.
      case inputSent
      /// The master closed the channel.
      case channelClosed
      /// Nobody reads the output any more.
      case readerGone
    }

    private let channel: DataChannel
    private let configuration: BridgeConfiguration
    private let input: StandardStream?
    private let output: StandardStream?
    private let progress = Mutex(Progress())

    private struct Progress {
      /// When there last was something to wait for.
      var lastActivity = NetworkClock.now
      /// Whether all input was handed to the channel, which may close now.
      var hasSentAll = false
    }

    init(_ channel: DataChannel, configuration: BridgeConfiguration) throws(StandardStreamError) {
      self.channel = channel
      self.configuration = configuration
      input = configuration.sendsInput ? try StandardStream(.standardInput, name: "standard input") : nil
      output = configuration.writesOutput ? try StandardStream(.standardOutput, name: "standard output") : nil
    }

    /// Carries messages until one of the ends is reached, and closes the channel.
    ///
    /// - Throws: ``ViewerError``, ``StandardStreamError``, `CancellationError`.
    func run() async throws -> End {
      let end = try await withThrowingTaskGroup(of: End.self) { group in
        group.addTask { try await self.receive() }
        if let input { group.addTask { try await self.sendAll(of: input) } }
        defer { group.cancelAll() }
        return try await group.next() ?? .channelClosed
      }
      // Closing delivers what is under way, which nobody waits for any more when the reader has gone.
      if end != .readerGone { await channel.close() }
      try Task.checkCancellation()
      return end
    }

    // MARK: In

    private func receive() async throws -> End {
      for await message in channel.messages {
        noteActivity()
        guard let output else { continue }
        let end: [UInt8] = configuration.isBinary || !message.isText ? [] : [UInt8(ascii: "\n")]
        guard try await output.write(message.bytes + end) else { return .readerGone }
      }
      try Task.checkCancellation()
      guard configuration.sendsInput else { return .channelClosed }
      guard progress.withLock({ $0.hasSentAll }) else { throw ViewerError.closed }
      return .inputSent
    }

    // MARK: Out

    private func sendAll(of input: StandardStream) async throws -> End {
      if configuration.isBinary { try await sendChunks(of: input) } else { try await sendLines(of: input) }
      progress.withLock { $0.hasSentAll = true }
      if configuration.writesOutput { try await waitForQuiet() }
      return .inputSent
    }

    private func sendChunks(of input: StandardStream) async throws {
      let byteCountMax = min(
        BridgeConfiguration.chunkByteCount, channel.messageByteCountMax ?? BridgeConfiguration.chunkByteCount)
      while let bytes = try await input.read(upTo: byteCountMax) {
        try await send(DataChannelMessage(bytes)) { .chunkTooLong(limit: $0) }
      }
    }

    private func sendLines(of input: StandardStream) async throws {
      var splitter = LineSplitter(
        byteCountMax: min(
          BridgeConfiguration.lineByteCountMax,
          channel.messageByteCountMax ?? BridgeConfiguration.lineByteCountMax))
      var lineCount = 0
      func send(_ line: [UInt8]) async throws {
        lineCount += 1
        guard let text = String(validating: line, as: UTF8.self) else {
          throw ViewerError.notText(line: lineCount)
        }
        let number = lineCount
        try await self.send(DataChannelMessage(text: text)) { .lineTooLong(line: number, limit: $0) }
      }
      do {
        while let bytes = try await input.read(upTo: BridgeConfiguration.chunkByteCount) {
          for line in try splitter.lines(in: bytes) { try await send(line) }
        }
        if let line = try splitter.lastLine() { try await send(line) }
      } catch let error as LineSplitter.LineTooLong {
        throw ViewerError.lineTooLong(line: error.line, limit: error.limit)
      }
    }

    private func send(_ message: DataChannelMessage, _ tooLong: (Int) -> ViewerError) async throws {
      do throws(DataChannelError) {
        try await channel.send(message)
      } catch .messageTooLong(let limit) {
        throw tooLong(limit)
      } catch .cancelled {
        throw CancellationError()
      } catch {
        throw ViewerError.closed
      }
    }

    /// Waits until nothing has come for a while, and all is sent.
    private func waitForQuiet() async throws {
      noteActivity()
      while channel.state == .open {
        if channel.bufferedAmount > 0 { noteActivity() }
        let quiet = NetworkClock.now - progress.withLock { $0.lastActivity }
        let rest = configuration.linger - Duration(quiet)
        guard rest > .zero else { return }
        try await Task.sleep(for: rest)
      }
    }

    private func noteActivity() { progress.withLock { $0.lastActivity = NetworkClock.now } }
  }
#endif
