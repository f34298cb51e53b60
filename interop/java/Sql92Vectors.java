import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

import org.apache.rocketmq.filter.SqlFilter;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;

/**
 * Writes the vectors of SQL92 filters: what {@code SqlFilter} makes of expressions, for each of a few sets of properties.
 *
 * <p>Usage: {@code java -cp 'target/interop/classes:target/interop/lib/*' Sql92Vectors FILE [RANDOM [SEED]]}, after {@code cargo xtask
 * interop} has filled these directories. RANDOM is the number of expressions made up from SEED, beside those written down here.
 *
 * <p>A case's {@code results} hold one letter per set of properties: {@code t}rue, {@code f}alse, {@code n}ull, {@code x} for an exception; or
 * they are {@code refused}, when the expression does not compile.
 */
public final class Sql92Vectors {
    private static final List<Map<String, String>> SETS = List.of(
        set(),
        set("a", "1", "b", "x", "c", "2.5", "region", "eu", "flag", "true"),
        set("a", "10", "b", "it's", "c", "-3", "region", "us-east", "flag", "false", "A", "upper"),
        set("a", "x", "b", "", "c", "1e3", "region", "EU", "flag", "TRUE"),
        set("a", "3000000000", "b", "7", "c", "NaN", "region", "\u4e2d\u6587", "_x", "1", "$y", "2"),
        set("a", "-5", "b", "-5.0", "c", " 2.5 ", "region", "a%b", "flag", "yes", "and1", "z"),
        set("a", "9223372036854775808", "b", "0x10p0", "c", "Infinity", "region", "\ud83d\ude80 go", "flag", ""),
        set("a", "+7", "b", "7", "c", "7f", "region", "line\nbreak"),
        set("a", "\uff11\uff12", "b", "\u0661\u0662", "c", "-0.0", "region", "e", "flag", "tRuE"));

    private static final String[] EXPRESSIONS = {
        // nothing, and conditions without an operator
        "", " ", "\t\n\r\f", "a", "missing", "TRUE", "FALSE", "NULL", "true", "nUlL", "'text'", "1", "1.5", "-a", "+a", "(a)", "((a))", "()",
        "flag", "NOT flag", "(flag)", "flag AND flag", "flag OR TRUE",
        // equality and missing properties, on both sides
        "a = 1", "1 = a", "a = '1'", "'1' = a", "a <> 1", "1 <> a", "a <> '1'", "'x' <> missing", "missing <> 'x'", "missing = 1",
        "1 = missing", "missing = missing", "missing = other", "missing <> other", "a = missing", "missing = a", "a = b", "a <> b", "b = a",
        "region = 'eu'", "region = 'EU'", "REGION = 'eu'", "A = 'upper'", "b = ''", "'' = b", "'x' = 'x'", "'x' = 'y'", "1 = 1", "1 = 1.0",
        "1 = 1L", "1 <> 2", "2.5 = c", "c = 2.5", "c = '2.5'", "a = 1 = TRUE", "TRUE = (a = 1)", "(a = 1) = (b = 'x')", "a = 1 <> FALSE",
        "a = 1 = 1", "(a = 1) = 'true'", "(a = 1) <> 'true'", "'true' = (a = 1)", "(missing = 1) = TRUE", "a = TRUE", "flag = TRUE",
        "flag = FALSE", "flag <> TRUE", "TRUE = flag", "FALSE <> flag", "TRUE = missing", "TRUE = TRUE", "TRUE = FALSE", "TRUE <> FALSE",
        "'true' = TRUE", "'x' = FALSE", "TRUE = 'true'", "TRUE = 1", "1 = TRUE", "1.5 = TRUE", "1 <> TRUE", "a = NULL", "NULL = a",
        "a <> NULL", "NULL <> NULL", "NULL = NULL", "-a = 1", "a = -5", "a = - 5", "a = +5", "a = +7", "a = - -5", "a = -(-5)", "a = -b",
        "-5 = a", "a = -'5'", "a = -TRUE", "-a = -a", "a = -missing", "a == 1", "a != 1", "a >< 1", "a = = 1",
        // null
        "a IS NULL", "a IS NOT NULL", "missing IS NULL", "missing IS NOT NULL", "NULL IS NULL", "NULL IS NOT NULL", "1 IS NULL", "'x' IS NOT NULL",
        "TRUE IS NULL", "(a = 1) IS NULL", "(missing = 1) IS NULL", "-a IS NULL", "-1 IS NULL", "a = 1 IS NULL", "a > 1 IS NOT NULL", "a is null",
        "a Is Not Null", "a IS NULL IS NULL", "a IS NULL IS NOT NULL", "a IS", "a IS NOT", "a IS 1", "a IS TRUE", "IS NULL", "a NOT NULL",
        "a IS NOT NOT NULL", "NOT a IS NULL", "NOT (a IS NULL)", "missing IS NULL AND a IS NOT NULL",
        // order
        "a > 1", "a >= 1", "a < 1", "a <= 1", "1 > a", "1 >= a", "1 < a", "1 <= a", "a > -10", "a > 2147483647", "a > 2147483648",
        "a >= 3000000000", "a < 3000000000L", "c > 2", "c > 2.4", "c < 2.6", "c >= 1e3", "c <= 1E+3", "c > 999.9", "c > 1e300", "c < -1.5", "c = -.5",
        "a > b", "b > a", "a <= b", "c > b", "c >= c", "a > missing", "missing > a", "missing > 1", "1 > missing", "missing < other", "1 < 2", "2 < 1",
        "1 < 1.5", "2.5 > 2", "3000000000 > 1", "1 < 3000000000", "3000000000 > 1.5", "1.5 < 3000000000", "a > 'x'", "a > '1'", "'1' < a", "'a' < 'b'",
        "a > TRUE", "TRUE > a", "a > NULL", "NULL < a", "a > (b = 1)", "(b = 1) > a", "a > NOT b", "a > (b)", "(a) > (1)", "(a) > ((1))", "a > 1 > 0",
        "0 < a < 10", "a > -b", "-a > 1", "-1 > a", "a > -1 AND a < 1", "a < - 1", "a >+1", "a>1", "a>=1", "a=>1", "a =< 1", "a <> 1 > 0",
        // between
        "a BETWEEN 0 AND 10", "a between 1 and 1", "a NOT BETWEEN 0 AND 5", "a BETWEEN 10 AND 0", "a NOT BETWEEN 10 AND 0", "a BETWEEN -10 AND 0",
        "a BETWEEN -1 AND -10", "a BETWEEN 0 AND 10 AND region = 'eu'", "a BETWEEN b AND c", "a BETWEEN missing AND 5", "a BETWEEN 5 AND missing",
        "a NOT BETWEEN missing AND 5", "a NOT BETWEEN 5 AND missing", "missing BETWEEN 1 AND 2", "missing NOT BETWEEN 1 AND 2", "5 BETWEEN a AND 10",
        "5 BETWEEN 1 AND 10", "5 NOT BETWEEN 1 AND 10", "c BETWEEN 2 AND 3.5", "c BETWEEN 2.5 AND 3", "c BETWEEN 1.5 AND 1", "a BETWEEN 0 AND NULL",
        "a BETWEEN NULL AND 1", "a NOT BETWEEN NULL AND 1", "a BETWEEN 'a' AND 'b'", "a BETWEEN 0 AND 'b'", "a BETWEEN FALSE AND TRUE", "'x' BETWEEN 0 AND 1",
        "TRUE BETWEEN 0 AND 1", "(a = 1) BETWEEN 0 AND 1", "a BETWEEN (0) AND (10)", "a BETWEEN 0 OR 10", "a BETWEEN 0", "a BETWEEN AND 1", "BETWEEN 0 AND 1",
        "a BETWEEN 0 AND 10 BETWEEN 0 AND 1", "NOT a BETWEEN 0 AND 10", "NOT (a BETWEEN 0 AND 10)", "-a BETWEEN 0 AND 10", "a BETWEEN NOT b AND 1",
        "a BETWEEN 2147483648 AND 4000000000", "a BETWEEN 1 AND 4000000000", "-(-(a BETWEEN 0 AND 1) BETWEEN 0 AND 1) BETWEEN 0 AND 1",
        // in
        "region IN ('eu')", "region IN ('eu', 'us-east')", "region NOT IN ('eu', 'us-east')", "region in('EU','eu')", "missing IN ('eu')",
        "missing NOT IN ('eu')", "region IN ('a','b','c','d','e','eu','f')", "region NOT IN ('a','b','c','d','e','eu','f')", "a IN ('1', '10')", "a IN (1)",
        "a IN ('1', 2)", "a IN ()", "a IN '1'", "a IN ('1'", "a IN ('1',)", "a IN (missing)", "a IN (NULL)", "'eu' IN ('eu')", "1 IN ('1')", "(a = 1) IN ('1')",
        "(region) IN ('eu')", "+region IN ('eu')", "-a IN ('1')", "NOT region IN ('eu')", "NOT (region IN ('eu'))", "b IN ('')", "b IN ('it''s', 'x')",
        "region IN ('eu') = TRUE", "region IN ('eu') IN ('x')", "region IN ('eu','eu')", "region IN ('\u4e2d\u6587')", "region IN ('\ud83d\ude80 go')",
        // text search
        "region CONTAINS 'u'", "region NOT CONTAINS 'u'", "region STARTSWITH 'e'", "region NOT STARTSWITH 'e'", "region ENDSWITH 't'",
        "region NOT ENDSWITH 't'", "region contains 'U'", "missing CONTAINS 'u'", "missing NOT CONTAINS 'u'", "missing STARTSWITH 'u'",
        "missing NOT STARTSWITH 'u'", "missing ENDSWITH 'u'", "missing NOT ENDSWITH 'u'", "region CONTAINS ''", "region NOT CONTAINS ''", "region STARTSWITH ''",
        "region NOT STARTSWITH ''", "region ENDSWITH ''", "region NOT ENDSWITH ''", "'abc' CONTAINS 'b'", "'abc' STARTSWITH 'a'", "'abc' ENDSWITH 'a'",
        "1 CONTAINS '1'", "TRUE CONTAINS 'T'", "NULL CONTAINS 'x'", "(a = 1) CONTAINS 't'", "(a = 1) NOT CONTAINS 't'", "(a > 1) CONTAINS ''", "-a CONTAINS '1'",
        "region CONTAINS a", "region CONTAINS 1", "region CONTAINS NULL", "region CONTAINS ('u')", "region CONTAINS", "NOT region CONTAINS 'u'",
        "region CONTAINS 'u' CONTAINS 'u'", "b CONTAINS ''''", "region CONTAINS '%'", "region STARTSWITH '\u4e2d'", "region ENDSWITH '\u6587'",
        "region CONTAINS '\ud83d\ude80'", "region CONTAINS 'e\nb'", "region CONTAINS 'u' = TRUE", "region LIKE 'e%'", "region NOT LIKE 'e%'",
        // logic of three values
        "TRUE AND TRUE", "TRUE AND FALSE", "TRUE AND NULL", "NULL AND TRUE", "FALSE AND NULL", "NULL AND FALSE", "NULL AND NULL", "TRUE OR NULL", "NULL OR TRUE",
        "FALSE OR NULL", "NULL OR FALSE", "NULL OR NULL", "NOT NULL", "NOT TRUE", "NOT FALSE", "NOT NOT TRUE", "NOT NOT NULL", "NOT NOT a", "NOT (missing = 1)",
        "NOT missing = 1", "NOT a = 1", "NOT (a = 1)", "NOT a", "NOT missing", "NOT 1", "NOT 'x'", "NOT -a", "NOT (NOT (a = 1))", "missing = 1 AND a = 1",
        "a = 1 AND missing = 1", "missing = 1 OR a = 1", "a = 1 OR missing = 1", "missing = 1 AND FALSE", "missing = 1 OR TRUE", "a > 1 AND FALSE",
        "FALSE AND a > 1", "a > 1 OR TRUE", "TRUE OR a > 1", "NULL AND a > 1", "NULL OR a > 1", "a > 1 AND NULL", "NULL AND NULL AND FALSE AND a > 1",
        "NULL OR NULL OR TRUE OR a > 1", "(NULL OR TRUE) AND (FALSE OR a = 1)", "1 AND a", "a AND 1", "'x' OR a", "a AND", "AND a", "a OR", "OR", "NOT",
        // precedence
        "a = 1 OR a = 10 AND b = 'x'", "(a = 1 OR a = 10) AND b = 'x'", "a = 10 AND b = 'x' OR a = 1", "NOT (a = 1) AND b = 'x'", "NOT (a = 1 OR b = 'x')",
        "a = 1 AND NOT (b = 'y')", "TRUE OR FALSE AND FALSE", "(TRUE OR FALSE) AND FALSE", "FALSE AND FALSE OR TRUE", "a = 1 OR b = 'x' OR c = 2.5 OR missing = 1",
        "a = 1 AND b = 'x' AND c = 2.5 AND region = 'eu'", "a > 0 = TRUE", "TRUE = a > 0", "a = 1 = b = 'x'", "a < 5 = b < 5", "a > 1 AND a < 20 OR region = 'eu'",
        "NOT TRUE OR TRUE", "NOT (TRUE OR TRUE)", "((a = 1) AND ((b = 'x') OR (c = 1)))", "- - a = 1", "+ + a = 1", "-+1 = a", "+-5 = a", "+(a = 1)", "+TRUE",
        "-(a = 1)", "-(a = 1) IS NULL", "a = 1 AND b", "a OR b = 'x'",
        // quoting
        "b = 'it''s'", "b = 'it's'", "b = ''''", "b = 'it'", "b = 'x", "b = x'", "b = \"x\"", "b = `x`", "b = 'x''", "b = ''x'", "b = '\\'", "'it''s' = b",
        "b = 'a''b''c'", "b = 'x''y", "b 'x''y", "b 'x''y''z", "b 'x", "b = '--'", "b = '/* */'", "b = 'x' 'y'",
        // numbers
        "a = 2147483647", "a = 2147483648", "a = 9223372036854775807", "a = 9223372036854775808", "a = -9223372036854775808", "a = -9223372036854775807",
        "a = 1L", "a = 1l", "a = 1LL", "a = 0", "a = 0L", "a = 00", "a = 01", "a = 1.", "a = 1.0", "a = .1", "a = .", "a = 1.L", "a = 1e0", "a = 1E0",
        "a = 1e", "a = 1e+", "a = 10e-1", "a = 1.e0", "a = .1e1", "c = 0.0", "c = 0e5", "c = 1e400", "c = 1e-400", "c = 4.9e-324", "c = 1e308", "a = 0x1",
        "a = 1f", "a = 1d", "c = 007.5", "c = 1.5.5", "c = 1..5", "a = 5x", "a = 1_0", "c > 1.7976931348623157e308", "c < 1.7976931348623157e308",
        "a > 99999999999999999999", "a > 99999999999999999999.0", "a = 10.0", "a = 3000000000.0", "a = 3000000000", "-a = 5", "a < 12.5", "b = 7", "b = 7.0",
        "a > 9007199254740993", "9007199254740993 = 9007199254740992.0", "a = 12", "12 = a", "b = 12", "c = -1.5", "-2.5 < c", "b >= 16.0", "b < a", "b > 15.5",
        // words
        "A = 1", "a = 1 And b = 'x'", "a = 1 aNd b = 'x' oR FALSE", "nOt (a = 1)", "_x = 1", "$y = 2", "and1 = 'z'", "a$1 = 1", "_ = 1", "$ = 1", "a.b = 1", "a-b = 1",
        "1a = 1", "in = 1", "is = 1", "true = flag", "between = 1", "contains = 1", "like = 1", "a\u00e9 = 1", "\u4e2d = 1", "a = \u4e2d", "a\u00a0= 1", "a\u3000= 1",
        "\u017f = 1", "\u212a = 1", "a = '\u4e2d\u6587'", "region = '\u4e2d\u6587'", "region = '\ud83d\ude80 go'", "region <> '\u4e2d\u6587'", "__STORE = 1",
        // blanks and comments
        " a = 1 ", "\ta\n=\r1\f", "a=1AND b='x'", "a = 1AND b = 'x'", "a = 'x'AND b = 'x'", "(a=1)AND(b='x')", "/* c */ a = 1", "a /* c */ = /* d */ 1", "a = 1 /* c */",
        "a = 1 /* c", "a = 1 */", "a = /**/ 1", "a = /***/ 1", "a = /*/ 1", "a = /* * / */ 1", "a = /* ** */ 1", "/* a */ /* b */ a = 1", "-- c\na = 1", "a = 1 -- c",
        "a = 1 -- c\n", "a = 1 -- c\nAND b = 'x'", "a = 1 -- c\rAND b = 'x'", "a = --5", "a = --5\n1", "a = - -1", "--\na = 1", "-- a = 1", "// a\na = 1", "# a\na = 1",
        "a = 1 /* \u4e2d */ AND b = 'x'",
        // what follows a complete condition
        "a = 1 b = 2", "a = 1 2", "a = 1 'x'", "a = 1 )", "a = 1 (", "a = 1 ,", "a = 1 + 1", "a = 1 - 1", "a = 1 * 1", "a = 1 / 1", "a = 1 % 1", "a = 1;", "a = 1 ;",
        "a = 1 TRUE", "a = 1 NOT", "a = 1 NOT b", "a = 1 IS", "a = 1 && b = 2", "a = 1 || b = 2", "a || b", "a = 1 @", "a = 1 x @", "a = 1 x 'y", "a b", "(a = 1 b)",
        "(a = 1", "a = 1)", "a = (1", "a > 5 + 3", "a + 1 > 2", "a = 1 AND b = 'x' c", "=", "a =", "= 1", "<", ">= 1", "a > ", "a ! b", "!a", "a ~ 1", "a ? 1", "a[0] = 1",
        "{a} = 1", "a = :x", "a = 1 \u0000", "\ufeffa = 1",
    };

    public static void main(String[] args) throws Exception {
        List<String> expressions = new ArrayList<>(List.of(EXPRESSIONS));
        Random random = new Random(args.length > 2 ? Long.parseLong(args[2]) : 1);
        int more = args.length > 1 ? Integer.parseInt(args[1]) : 400;
        for (int i = 0; i < more; i++) {
            expressions.add(invent(random));
        }
        StringBuilder json = new StringBuilder("{\"sets\":[");
        for (Map<String, String> set : SETS) {
            json.append(json.charAt(json.length() - 1) == '[' ? "\n{" : ",\n{");
            set.forEach((name, value) -> {
                json.append(json.charAt(json.length() - 1) == '{' ? "" : ",");
                quote(name, json);
                quote(value, json.append(':'));
            });
            json.append('}');
        }
        json.append("],\n\"cases\":[");
        for (String expression : expressions) {
            json.append(json.charAt(json.length() - 1) == '[' ? "\n" : ",\n").append("{\"expression\":");
            quote(expression, json);
            json.append(",\"results\":\"").append(results(expression)).append("\"}");
        }
        json.append("]}\n");
        Files.writeString(Path.of(args[0]), json, StandardCharsets.UTF_8);
    }

    private static String results(String expression) {
        Expression compiled;
        try {
            compiled = new SqlFilter().compile(expression);
        } catch (MQFilterException e) {
            return "refused";
        }
        StringBuilder results = new StringBuilder();
        for (Map<String, String> set : SETS) {
            // As the broker's MessageEvaluationContext.
            EvaluationContext context = new EvaluationContext() {
                @Override
                public Object get(String name) {
                    return set.get(name);
                }

                @Override
                public Map<String, Object> keyValues() {
                    return null;
                }
            };
            try {
                Object value = compiled.evaluate(context);
                results.append(value == null ? 'n' : (Boolean) value ? 't' : 'f');
            } catch (Exception e) {
                results.append('x');
            }
        }
        return results.toString();
    }

    /** An expression of the grammar, sometimes with a word lost, doubled or swapped, or with a character too many or too few. */
    private static String invent(Random random) {
        List<String> words = new ArrayList<>();
        condition(random, 0, words);
        if (random.nextInt(5) == 0) {
            int at = random.nextInt(words.size());
            switch (random.nextInt(3)) {
                case 0:
                    words.remove(at);
                    break;
                case 1:
                    words.add(at, words.get(at));
                    break;
                default:
                    words.set(at, words.get(random.nextInt(words.size())));
            }
        }
        StringBuilder text = new StringBuilder(String.join(" ", words));
        if (text.length() > 0 && random.nextInt(5) == 0) {
            int at = random.nextInt(text.length());
            if (random.nextBoolean()) {
                text.deleteCharAt(at);
            } else {
                text.insert(at, pick(random, "'", "(", ")", "-", "--", "+", "=", "<", ">", ".", "e", "E1", "L", "0", "9", "/*", "*/", "\n", ",", " ", "!", "a"));
            }
        }
        return text.toString();
    }

    private static void condition(Random random, int depth, List<String> words) {
        switch (depth > 3 ? 2 + random.nextInt(7) : random.nextInt(12)) {
            case 0:
                condition(random, depth + 1, words);
                words.add(random.nextBoolean() ? "AND" : "OR");
                condition(random, depth + 1, words);
                break;
            case 1:
                words.add("NOT");
                words.add("(");
                condition(random, depth + 1, words);
                words.add(")");
                break;
            case 2:
                value(random, words);
                words.add(random.nextBoolean() ? "=" : "<>");
                value(random, words);
                break;
            case 3:
            case 4:
                value(random, words);
                words.add(pick(random, "<", "<=", ">", ">="));
                value(random, words);
                break;
            case 5:
                value(random, words);
                not(random, words);
                words.add("BETWEEN");
                value(random, words);
                words.add("AND");
                value(random, words);
                break;
            case 6:
                words.add(property(random));
                not(random, words);
                words.add("IN");
                words.add("(");
                words.add(text(random));
                for (int i = random.nextInt(7); i > 0; i--) {
                    words.add(",");
                    words.add(text(random));
                }
                words.add(")");
                break;
            case 7:
                value(random, words);
                not(random, words);
                words.add(pick(random, "CONTAINS", "STARTSWITH", "ENDSWITH"));
                words.add(text(random));
                break;
            case 8:
                value(random, words);
                words.add("IS");
                not(random, words);
                words.add("NULL");
                break;
            case 9:
                words.add("(");
                condition(random, depth + 1, words);
                words.add(")");
                words.add(pick(random, "=", "<>", "AND", "OR"));
                condition(random, depth + 1, words);
                break;
            case 10:
                words.add(pick(random, "TRUE", "FALSE", "NULL", "flag", "missing"));
                break;
            default:
                words.add("(");
                condition(random, depth + 1, words);
                words.add(")");
        }
    }

    private static void value(Random random, List<String> words) {
        switch (random.nextInt(10)) {
            case 0:
            case 1:
            case 2:
            case 3:
                words.add(property(random));
                break;
            case 4:
                words.add(text(random));
                break;
            case 5:
                words.add("-");
                value(random, words);
                break;
            case 6:
                words.add(pick(random, "1.0", "2.5", "1e3", "16.0", "7.", ".5"));
                break;
            case 7:
                words.add(pick(random, "3000000000", "9007199254740993", "1L"));
                break;
            default:
                words.add(pick(random, "0", "1", "5", "7", "10", "12"));
        }
    }

    private static void not(Random random, List<String> words) {
        if (random.nextInt(3) == 0) {
            words.add("NOT");
        }
    }

    private static String property(Random random) {
        return pick(random, "a", "a", "b", "c", "region", "flag", "missing");
    }

    private static String text(Random random) {
        return pick(random, "'1'", "'x'", "'eu'", "'e'", "'it''s'", "'true'", "''", "'7'", "'2.5'", "'\u4e2d\u6587'");
    }

    private static String pick(Random random, String... words) {
        return words[random.nextInt(words.length)];
    }

    private static Map<String, String> set(String... namesAndValues) {
        Map<String, String> set = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            set.put(namesAndValues[i], namesAndValues[i + 1]);
        }
        return set;
    }

    private static void quote(String text, StringBuilder json) {
        json.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        json.append('"');
    }
}
