// SPDX-License-Identifier: Apache-2.0

import NIOPosix
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Standard input or output for tasks: reading and writing wait on a thread of their own, and end when the task is
/// cancelled.
///
/// A file descriptor may be a file, a pipe, a terminal or a socket, and only some of these can be watched by an event
/// loop. What all of them know is `poll`, which also watches a pipe of ours that wakes the thread up.
final class StandardStream: Sendable {
  /// What is read or written at once: `PIPE_BUF`, which a pipe that is ready takes without a wait.
  private static let writtenByteCountMax = 4096

  private let descriptor: FileDescriptor
  private let name: String
  private let wake: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
  private let thread: NIOThreadPool

  /// - Parameter name: what the stream is called in errors, "standard input" for example.
  /// - Throws: ``StandardStreamError`` when the process may not open more files.
  init(_ descriptor: FileDescriptor, name: String) throws(StandardStreamError) {
    self.descriptor = descriptor
    self.name = name
    do {
      wake = try FileDescriptor.pipe()
    } catch {
      throw StandardStreamError(name: name, reason: "\(error)")
    }
    // Who writes to a reader that went away is to be told so, not ended.
    signal(SIGPIPE, SIG_IGN)
    thread = NIOThreadPool(numberOfThreads: 1)
    thread.start()
  }

  deinit {
    thread.shutdownGracefully { _ in }
    try? wake.readEnd.close()
    try? wake.writeEnd.close()
  }

  /// The next bytes, at least one; `nil` at the end of the stream.
  ///
  /// - Throws: ``StandardStreamError``, `CancellationError`.
  func read(upTo byteCountMax: Int) async throws -> [UInt8]? {
    try await onThread { [self] in
      while try waitUntilReady(POLLIN) {
        do {
          let bytes = try [UInt8](unsafeUninitializedCapacity: byteCountMax) { buffer, count in
            count = try descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
          }
          return bytes.isEmpty ? nil : bytes
        } catch let error as Errno {
          try pass(error)
        }
      }
      throw CancellationError()
    }
  }

  /// Writes all bytes; waits as long as nobody takes them.
  ///
  /// - Returns: `false` when the reader has gone.
  /// - Throws: ``StandardStreamError``, `CancellationError`.
  func write(_ bytes: [UInt8]) async throws -> Bool {
    try await onThread { [self] in
      var rest = bytes[...]
      while !rest.isEmpty {
        guard try waitUntilReady(POLLOUT) else { throw CancellationError() }
        do {
          let count = try rest.prefix(Self.writtenByteCountMax).withUnsafeBytes { try descriptor.write($0) }
          rest = rest.dropFirst(count)
        } catch Errno.brokenPipe {
          return false
        } catch let error as Errno {
          try pass(error)
        }
      }
      return true
    }
  }

  /// Passes what a second try may mend.
  private func pass(_ error: Errno) throws(StandardStreamError) {
    guard error == .interrupted || error == .resourceTemporarilyUnavailable else {
      throw StandardStreamError(name: name, reason: "\(error)")
    }
  }

  private func onThread<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
  ) async throws -> Result {
    try await withTaskCancellationHandler {
      try await thread.runIfActive(body)
    } onCancel: {
      // Never read: once woken, always awake.
      _ = try? wake.writeEnd.writeAll([0])
    }
  }

  /// Waits until reading or writing does not wait, or fails at once.
  ///
  /// - Returns: `false` when the stream was woken up.
  private func waitUntilReady(_ events: Int32) throws(StandardStreamError) -> Bool {
    while true {
      var watched = [
        pollfd(fd: wake.readEnd.rawValue, events: Int16(POLLIN), revents: 0),
        pollfd(fd: descriptor.rawValue, events: Int16(events), revents: 0),
      ]
      if poll(&watched, nfds_t(watched.count), -1) > 0 {
        if watched[0].revents != 0 { return false }
        if watched[1].revents != 0 { return true }
      } else {
        try pass(Errno(rawValue: errno))
      }
    }
  }
}

/// Standard input or output failed.
struct StandardStreamError: Error, CustomStringConvertible {
  let name: String
  let reason: String
  var description: String { "\(name) failed: \(reason)" }
}
