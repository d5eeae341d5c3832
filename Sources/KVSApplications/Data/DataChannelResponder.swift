// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import Logging
import SansIO
import Synchronization
import WebRTC

/// What a master does with the messages of its viewers' data channels.
///
/// Each channel is read by a task of its own, which reads on only when its answer is on its way: a viewer that does not
/// take answers holds back nobody but itself, and nothing grows, for unread messages keep its sending window shut.
final class DataChannelResponder: Sendable {
  /// Characters of a message or a label that are logged.
  private static let loggedCharactersMax = 128

  private let echoes: Bool
  /// Of all viewers together: however many there are, the log stays small.
  private let budget = Mutex(LogBudget())

  init(echoes: Bool) { self.echoes = echoes }

  #if DataChannels
    /// Reads and answers a channel's messages until it is closed or the task is cancelled.
    ///
    /// - Parameter timeline: how the channel's connection came about.
    func serve(_ channel: DataChannel, timeline: @Sendable () -> ConnectionTimeline, logger: Logger) async {
      var logger = logger
      logger[metadataKey: "label"] = "\(Self.escaped(channel.label))"
      note("a data channel is open", at: .info, in: logger)
      for await message in channel.messages {
        let answers = echoes ? [message] : answers(to: message, timeline: timeline, logger: logger)
        do throws(DataChannelError) {
          for answer in answers { try await channel.send(answer) }
        } catch .messageTooLong(let limit) {
          note("an answer was longer than the viewer takes", at: .info, ["limit": "\(limit)"], in: logger)
        } catch { break }
      }
      await channel.close()
    }

    /// Logs a message and answers it.
    private func answers(
      to message: DataChannelMessage, timeline: @Sendable () -> ConnectionTimeline, logger: Logger
    ) -> [DataChannelMessage] {
      var metadata: Logger.Metadata = ["bytes": "\(message.bytes.count)"]
      guard message.isText else {
        note("a binary message came", at: .info, metadata, in: logger)
        return []
      }
      // A character has at most four bytes.
      let beginning = String(decoding: message.bytes.prefix(4 * Self.loggedCharactersMax), as: UTF8.self)
      metadata["text"] = "\(Self.escaped(beginning))"
      guard let timestamps = TimestampMessage(parsing: message.bytes) else {
        note("a text came", at: .info, metadata, in: logger)
        return TextReply.text(to: message.bytes).map { [DataChannelMessage(text: $0)] } ?? []
      }
      // Programs measure by those once a second.
      note("a time-stamp message came", at: .debug, metadata, in: logger)
      return answers(to: timestamps, timeline: timeline).map { DataChannelMessage(text: $0) }
    }

    private func answers(to message: TimestampMessage, timeline: @Sendable () -> ConnectionTimeline)
      -> [String]
    {
      switch message.answer(unixMilliseconds: WallClock.unixMilliseconds(at: NetworkClock.now)) {
      case .stamped(let answer): [answer.text]
      case .timeline: timeline().messages(unixMilliseconds: WallClock.unixMilliseconds)
      case .none: []
      }
    }

    // MARK: Log

    private func note(
      _ text: Logger.Message, at level: Logger.Level, _ metadata: Logger.Metadata = [:], in logger: Logger
    ) {
      guard logger.logLevel <= level, let suppressed = budget.withLock({ $0.admit(at: NetworkClock.now) })
      else { return }
      var metadata = metadata
      if suppressed > 0 { metadata["suppressed"] = "\(suppressed)" }
      logger.log(level: level, text, metadata: metadata)
    }

    private static func escaped(_ text: String) -> String {
      LogText.escaped(text, charactersMax: loggedCharactersMax)
    }
  #endif
}
