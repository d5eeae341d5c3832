// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import LocalKinesisVideo
public import Logging
import SystemPackage
import UnixSignals
import WebRTC

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The version that `--version` prints.
public enum ProgramVersion {
  /// Semantic version of the whole package.
  public static let current = "0.1.0"
}

/// What every program takes.
public struct CommonFlags: Sendable {
  var config: String?
  var logLevel: String?
  var readyFile: String?

  /// Carries flags as they were typed.
  public init(config: String?, logLevel: String?, readyFile: String?) {
    self.config = config
    self.logLevel = logLevel
    self.readyFile = readyFile
  }
}

/// Something that runs until it is cancelled.
public protocol Program: Sendable {
  /// Runs until the task is cancelled, then cleans up and returns.
  func run() async throws
}

/// What a person is told of an error, and the exit code after `sysexits.h`.
struct ExitError {
  let message: String
  let code: Int32

  /// EX_USAGE.
  static let usage: Int32 = 64
  /// EX_DATAERR: the input is not what it should be.
  static let dataError: Int32 = 65
  /// EX_UNAVAILABLE: something that the program needs is not there.
  static let unavailable: Int32 = 69
  /// EX_IOERR: standard input or output failed.
  static let inputOutput: Int32 = 74
  /// EX_NOPERM: the service does not let us.
  static let notPermitted: Int32 = 77

  init(_ error: any Error) {
    message = "\(error)"
    code =
      switch error {
      case is UsageError: Self.usage
      case let error as KinesisVideoError where error.errorType == KinesisVideoError.invalidConfiguration:
        Self.usage
      case let error as KinesisVideoError where error.kind == .credentials: Self.notPermitted
      case is KinesisVideoError, is LocalServerError, is NetworkError: Self.unavailable
      case let error as ViewerError: error.exitCode
      case is StandardStreamError: Self.inputOutput
      default: 1
      }
  }
}

/// Text for people, whole lines at once also where the output is a pipe.
enum Console {
  static func print(_ text: String) { write(text, to: .standardOutput) }
  static func printError(_ text: String) { write(text, to: .standardError) }

  private static func write(_ text: String, to output: FileDescriptor) {
    _ = try? output.writeAll("\(text)\n".utf8)
  }
}

/// Runs a program as people expect it of a command: Ctrl-C ends it cleanly with 0, errors are one sentence.
public enum ProgramRunner {
  /// Makes the program, runs it until it ends or a signal asks it to, and exits the process.
  public static func run(
    flags: CommonFlags, _ make: (Settings, Logger) async throws -> any Program
  ) async -> Never {
    do {
      let settings = try await Settings.load(configFile: flags.config)
      let level = try LogSetup.level(settings, flag: flags.logLevel)
      LogSetup.bootstrap()
      var logger = Logger(label: "kvs-webrtc")
      logger.logLevel = level
      let program = try await make(settings, logger)
      try await runUntilSignal(program, logger: logger)
      exit(0)
    } catch {
      let told = ExitError(error)
      Console.printError("kvs-webrtc: \(told.message)")
      exit(told.code)
    }
  }

  private static func runUntilSignal(_ program: any Program, logger: Logger) async throws {
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await program.run() }
      group.addTask {
        for await signal in signals {
          logger.info("\(signal): ending")
          return
        }
      }
      try await group.next()
      group.cancelAll()
      // Whoever presses Ctrl-C again does not want to wait for goodbyes.
      for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
      do { try await group.waitForAll() } catch is CancellationError {}
    }
  }
}

/// Logs go to standard error, one line each with the time; what a person asked for goes to standard output.
enum LogSetup {
  static func bootstrap() {
    LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
  }

  /// swift-log's names, or the numbers 1 to 7 of the C SDK.
  static func level(_ settings: Settings, flag: String?) throws(UsageError) -> Logger.Level {
    let numbered: [String: Logger.Level] = [
      "1": .trace, "2": .debug, "3": .info, "4": .warning, "5": .error, "6": .critical, "7": .critical,
    ]
    return try settings.value(.logLevel, flag: flag) { text in
      Logger.Level(rawValue: text.lowercased()) ?? numbered[text]
    } ?? .info
  }
}
