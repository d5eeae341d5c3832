// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The program: `link-emulator --help` says what it does.
@main
enum LinkEmulator {
  static func main() {
    let words = Array(CommandLine.arguments.dropFirst())
    if words.isEmpty || words.contains("--help") || words.contains("-h") {
      print(Arguments.usage)
      exit(words.isEmpty ? EX_USAGE : 0)
    }
    do {
      var emulator = try Emulator(try Arguments(words))
      emulator.run()
    } catch {
      complain("\(error)")
      exit(error is Failure ? EX_OSERR : EX_USAGE)
    }
  }
}
