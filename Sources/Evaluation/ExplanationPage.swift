import Foundation
import PromptTuning

extension PromptExplanation {
    /// One HTML page with a table and bars, without anything from elsewhere.
    public func page(title: String) -> String {
        func bar(_ value: Double?, _ largest: Double, _ colour: String) -> String {
            guard let value, largest > 0 else { return "<td></td>" }
            let width = Int((min(1, abs(value) / largest) * 120).rounded())
            return
                "<td><svg width=\"200\" height=\"14\"><rect width=\"\(width)\" height=\"14\" fill=\"\(value < 0 ? "#999" : colour)\"/>"
                + "<text x=\"\(width + 4)\" y=\"11\" font-size=\"11\">\(String(format: "%.4f", value))</text></svg></td>"
        }
        let attentionMax = tokens.compactMap(\.attention).max() ?? 0
        let ablationMax = tokens.compactMap { $0.ablation.map { abs($0) } }.max() ?? 0
        let sizeMax = tokens.map(\.size).max() ?? 0
        let rows = tokens.map { token in
            let words = token.nearest.map {
                "<code>\(MarkupText.escaped($0.text.replacingOccurrences(of: "\n", with: "⏎")))</code> "
                    + "<small>\(String(format: "%.2f", $0.cosine))</small>"
            }.joined(separator: ", ")
            return "<tr><td>\(token.index)</td><td>\(words)</td>" + bar(token.size, sizeMax, "#1f5fa8")
                + bar(token.attention, attentionMax, "#0f766e") + bar(token.ablation, ablationMax, "#c2410c") + "</tr>"
        }.joined(separator: "\n")
        let losses =
            loss.flatMap { loss in
                bareLoss.map { bare in String(format: "<p>Loss %.4f with the prompt, %.4f without.</p>", loss, bare) }
            } ?? ""
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>\(MarkupText.escaped(title))</title>
            <style>body{font-family:sans-serif;margin:2em}td,th{padding:2px 10px;text-align:left}tr:nth-child(even){background:#f4f4f4}</style>
            </head><body><h1>\(MarkupText.escaped(title))</h1>
            \(losses)
            <table><tr><th>#</th><th>nearest words (cosine)</th><th>size</th><th>attention</th><th>loss without it</th></tr>
            \(rows)
            </table>
            <p>Words are hints: trained vectors leave the places where words lie. The vocabulary's own size is \
            \(String(format: "%.4f", vocabularySize)).</p></body></html>

            """
    }
}
