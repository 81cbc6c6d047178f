-- Keeps a large chat fast: searches by index in any locale, counters of rooms, the order of joining.

-- Text in lower case, as searches compare it: character by character, independent of the database's locale and version.
-- chatsys.model.rules.fold does the same. The letters are those of Unicode 14.
CREATE FUNCTION fold_case(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length($1) = char_length($1) THEN lower($1 COLLATE "C")
           ELSE translate(lower($1 COLLATE "C"),
            'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸ'
            'ŹŻŽƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƠƢƤƦƧƩƬƮƯƱƲƳƵƷƸƼǄǅǇǈǊǋǍǏǑǓǕǗǙǛǞǠǢǤǦǨǪǬǮǱǲǴǶǷǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȠȢȤ'
            'ȦȨȪȬȮȰȲȺȻȽȾɁɃɄɅɆɈɊɌɎͰͲͶͿΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫϏϘϚϜϞϠϢϤϦϨϪϬϮϴϷϹϺϽϾϿЀЁЂЃЄЅІЇЈЉЊЋЌ'
            'ЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӁӃӅӇӉӋӍӐӒӔ'
            'ӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖႠႡႢႣႤႥႦ'
            'ႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘ'
            'ᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯᏰᏱᏲᏳᏴᏵᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜ'
            'ḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔẞẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘ'
            'ỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮ'
            'ᾯᾸᾹᾺΆᾼῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏῼΩKÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑ'
            'ⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠⱢⱣⱤⱧⱩⱫⱭⱮⱯⱰⱲⱵⱾⱿⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘ'
            'ⳚⳜⳞⳠⳢⳫⳭⳲꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝽꝾꞀꞂꞄ'
            'ꞆꞋꞍꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞪꞫꞬꞭꞮꞰꞱꞲꞳꞴꞶꞸꞺꞼꞾꟀꟂꟄꟅꟆꟇꟉꟐꟖꟘꟵＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖'
            '𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁'
            '𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈'
            '𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡',
            'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįiĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿ'
            'źżžɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵơƣƥʀƨʃƭʈưʊʋƴƶʒƹƽǆǆǉǉǌǌǎǐǒǔǖǘǚǜǟǡǣǥǧǩǫǭǯǳǳǵƕƿǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟƞȣȥ'
            'ȧȩȫȭȯȱȳⱥȼƚⱦɂƀʉʌɇɉɋɍɏͱͳͷϳάέήίόύώαβγδεζηθικλμνξοπρστυφχψωϊϋϗϙϛϝϟϡϣϥϧϩϫϭϯθϸϲϻͻͼͽѐёђѓєѕіїјљњћќ'
            'ѝўџабвгдежзийклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӂӄӆӈӊӌӎӑӓӕ'
            'ӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆⴀⴁⴂⴃⴄⴅⴆ'
            'ⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨ'
            'ꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿᏸᏹᏺᏻᏼᏽაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝ'
            'ḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕßạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộ'
            'ớờởỡợụủứừửữựỳỵỷỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦ'
            'ᾧᾰᾱὰάᾳὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώῳωkåⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁ'
            'ⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡɫᵽɽⱨⱪⱬɑɱɐɒⱳⱶȿɀⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙ'
            'ⳛⳝⳟⳡⳣⳬⳮⳳꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼᵹꝿꞁꞃꞅ'
            'ꞇꞌɥꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩɦɜɡɬɪʞʇʝꭓꞵꞷꞹꞻꞽꞿꟁꟃꞔʂᶎꟈꟊꟑꟗꟙꟶａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾'
            '𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁'
            '𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨'
            '𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃')
           END
$$;

DROP INDEX users_username_trgm_idx, users_display_name_trgm_idx;
CREATE INDEX users_username_trgm_idx ON users USING gin (fold_case(username) gin_trgm_ops);
CREATE INDEX users_display_name_trgm_idx ON users USING gin (fold_case(display_name) gin_trgm_ops);
CREATE INDEX users_username_order_idx ON users (username COLLATE "C"); -- code-point order, for texts that match many

ALTER TABLE rooms
    SET (fillfactor = 50), -- last_seq changes with each flush, in place
    ADD removed_count bigint NOT NULL DEFAULT 0,
    ADD read_count bigint NOT NULL DEFAULT 0;
ALTER TABLE messages
    SET (fillfactor = 95),
    ADD is_read boolean NOT NULL DEFAULT false;
ALTER TABLE message_deliveries
    SET (fillfactor = 90), -- is_read changes soon after, in place
    ADD is_read boolean NOT NULL DEFAULT false;
UPDATE message_deliveries d SET is_read = true FROM message_reads r
WHERE r.message_id = d.message_id AND coalesce(r.user_id::text, r.guest_id) = coalesce(d.user_id::text, d.guest_id);
INSERT INTO message_deliveries (message_id, user_id, guest_id, delivered_at, is_read)
SELECT message_id, user_id, guest_id, read_at, true FROM message_reads ON CONFLICT DO NOTHING;
UPDATE messages m SET is_read = true WHERE EXISTS (SELECT FROM message_reads r WHERE r.message_id = m.message_id);
UPDATE rooms r SET removed_count = r.last_seq - counted.messages, read_count = counted.reads
FROM (SELECT room_id, count(*) FILTER (WHERE NOT is_deleted) AS messages,
             count(*) FILTER (WHERE is_read AND NOT is_deleted) AS reads
      FROM messages GROUP BY room_id) counted
WHERE counted.room_id = r.room_id;

-- rooms.removed_count and rooms.read_count give a room's counts without reading its messages: it has last_seq -
-- removed_count messages, of which read_count have a reader. SQL scripts that write messages or reads should first lock
-- their rooms (SELECT ... FROM rooms ... ORDER BY room_id FOR NO KEY UPDATE), as the server does, to avoid deadlocks.
CREATE FUNCTION count_removed_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rooms r SET removed_count = r.removed_count + gone.messages, read_count = r.read_count - gone.reads
    FROM (SELECT room_id, count(*) AS messages, count(*) FILTER (WHERE is_read) AS reads
          FROM removed WHERE NOT is_deleted GROUP BY room_id) gone
    WHERE r.room_id = gone.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_removed AFTER DELETE ON messages REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_messages();

-- Programs of the original backend mark messages as deleted. Such a message is hidden and counts as removed.
CREATE FUNCTION count_hidden_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change int = CASE WHEN NEW.is_deleted THEN 1 ELSE -1 END;
BEGIN
    UPDATE rooms r
    SET removed_count = r.removed_count + change,
        read_count = r.read_count - CASE WHEN NEW.is_read THEN change ELSE 0 END
    WHERE r.room_id = NEW.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_hidden AFTER UPDATE OF is_deleted ON messages
    FOR EACH ROW WHEN (OLD.is_deleted <> NEW.is_deleted) EXECUTE FUNCTION count_hidden_message();

-- A read sets message_deliveries.is_read, and adds the delivery if an SQL script left it out.
CREATE FUNCTION count_first_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_deliveries (message_id, user_id, guest_id, delivered_at, is_read)
    SELECT a.message_id, a.user_id, a.guest_id, a.read_at, true FROM added a
    ORDER BY a.message_id, a.user_id, a.guest_id
    ON CONFLICT DO NOTHING;
    UPDATE message_deliveries d SET is_read = true FROM added a
    WHERE d.message_id = a.message_id AND d.user_id = a.user_id AND NOT d.is_read;
    UPDATE message_deliveries d SET is_read = true FROM added a
    WHERE d.message_id = a.message_id AND d.guest_id = a.guest_id AND NOT d.is_read;
    WITH first AS (
        UPDATE messages m SET is_read = true
        FROM (SELECT DISTINCT message_id FROM added) a
        WHERE m.message_id = a.message_id AND NOT m.is_read
        RETURNING m.room_id, m.is_deleted
    )
    UPDATE rooms r SET read_count = r.read_count + counted.reads
    FROM (SELECT room_id, count(*) AS reads FROM first WHERE NOT is_deleted GROUP BY room_id) counted
    WHERE r.room_id = counted.room_id;
    RETURN NULL;
END
$$;
-- Imports and clean-ups update deliveries, marks and counts themselves, and set chatsys.bulk in their transaction.
CREATE TRIGGER message_reads_added AFTER INSERT ON message_reads REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION count_first_reads();

CREATE FUNCTION count_last_reads_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM removed JOIN messages USING (message_id)) THEN
        RETURN NULL; -- all of it goes with deleted messages
    END IF;
    UPDATE message_deliveries d SET is_read = false FROM removed gone JOIN users u ON u.user_id = gone.user_id
    WHERE d.message_id = gone.message_id AND d.user_id = gone.user_id AND d.is_read;
    UPDATE message_deliveries d SET is_read = false FROM removed gone
    WHERE d.message_id = gone.message_id AND d.guest_id = gone.guest_id AND d.is_read;
    WITH unread AS (
        UPDATE messages m SET is_read = false
        FROM (SELECT DISTINCT message_id FROM removed) gone
        WHERE m.message_id = gone.message_id AND m.is_read
          AND NOT EXISTS (SELECT FROM message_reads r WHERE r.message_id = m.message_id)
        RETURNING m.room_id, m.is_deleted
    )
    UPDATE rooms r SET read_count = r.read_count - counted.reads
    FROM (SELECT room_id, count(*) AS reads FROM unread WHERE NOT is_deleted GROUP BY room_id) counted
    WHERE r.room_id = counted.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_reads_removed AFTER DELETE ON message_reads REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION count_last_reads_removed();

-- Removing a delivery also removes the read: a message that was not delivered was not read.
CREATE FUNCTION remove_undelivered_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE is_read) THEN
        DELETE FROM message_reads r USING removed gone
        WHERE r.message_id = gone.message_id AND r.user_id = gone.user_id AND gone.is_read;
        DELETE FROM message_reads r USING removed gone
        WHERE r.message_id = gone.message_id AND r.guest_id = gone.guest_id AND gone.is_read;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_deliveries_removed AFTER DELETE ON message_deliveries REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION remove_undelivered_reads();

ALTER TABLE room_members ADD read_to bigint NOT NULL DEFAULT 0; -- the member has read what others wrote up to here
ALTER TABLE active_sessions ADD place bigint GENERATED ALWAYS AS IDENTITY; -- the order of joining
CREATE INDEX active_sessions_guest_id_idx ON active_sessions (guest_id) WHERE guest_id IS NOT NULL;
ALTER TABLE chat_servers ADD locked_at timestamptz; -- when the process took its advisory lock

-- Ends sessions, each at its own time, and sets users offline who have no session left. Returns the sessions in order
-- of joining. If two servers end the last two sessions of a user at once, they must not both see the other's as open.
-- So the first statement waits for the other server, and the second sees what it did.
CREATE FUNCTION end_sessions(ids uuid[], times timestamptz[]) RETURNS TABLE (
    session_id uuid, socket_id varchar, room_name varchar, connected_at timestamptz, user_id uuid, guest_id varchar,
    guest_name varchar, username varchar, display_name varchar, avatar text, online boolean, last_seen timestamptz,
    last boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM users u
    WHERE u.user_id IN (SELECT s.user_id FROM active_sessions s WHERE s.session_id = ANY (ids))
    ORDER BY u.user_id FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(guest.key)
    FROM (SELECT DISTINCT hashtextextended(s.guest_id, 0) AS key FROM active_sessions s
          WHERE s.session_id = ANY (ids) AND s.guest_id IS NOT NULL ORDER BY key) guest;
    RETURN QUERY
    WITH ended AS (
        DELETE FROM active_sessions s USING unnest(ids, times) AS g (session_id, at)
        WHERE s.session_id = g.session_id RETURNING s.*, g.at
    ), judged AS (
        SELECT e.*, NOT EXISTS (
                   SELECT FROM active_sessions s
                   WHERE s.user_id = e.user_id AND s.session_id <> ALL (ids)
               ) AND NOT EXISTS (
                   SELECT FROM active_sessions s
                   WHERE s.guest_id = e.guest_id AND s.session_id <> ALL (ids)
               ) AS last
        FROM ended e
    ), away AS (
        UPDATE users u SET status = 'offline', last_seen = gone.at
        FROM (SELECT j.user_id, max(j.at) AS at FROM judged j WHERE j.last GROUP BY j.user_id) gone
        WHERE u.user_id = gone.user_id
    ), left_room AS (
        UPDATE room_members m SET is_active = false, left_at = gone.at
        FROM (SELECT e.room_id, e.user_id, max(e.at) AS at FROM ended e GROUP BY e.room_id, e.user_id) gone
        WHERE m.room_id = gone.room_id AND m.user_id = gone.user_id AND NOT EXISTS (
            SELECT FROM active_sessions s
            WHERE s.user_id = gone.user_id AND s.room_id = gone.room_id AND s.session_id <> ALL (ids)
        )
    )
    SELECT j.session_id, j.socket_id, r.room_name, j.connected_at, j.user_id, j.guest_id, j.guest_name,
           u.username, u.display_name, u.avatar,
           CASE WHEN u.user_id IS NULL THEN true ELSE u.status = 'online' AND NOT j.last END,
           CASE WHEN u.user_id IS NULL THEN NULL WHEN j.last THEN j.at ELSE u.last_seen END,
           j.last
    FROM judged j
    JOIN rooms r ON r.room_id = j.room_id
    LEFT JOIN users u ON u.user_id = j.user_id
    ORDER BY j.place;
END
$$;

CREATE OR REPLACE VIEW room_stats_view AS
SELECT r.room_id, r.room_name,
       r.last_seq - r.removed_count AS total_messages,
       (SELECT count(*) FROM room_members rm WHERE rm.room_id = r.room_id AND rm.is_active) AS total_members,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id))
          FROM active_sessions s WHERE s.room_id = r.room_id) AS active_users,
       (SELECT m.created_at FROM messages m WHERE m.room_id = r.room_id AND NOT m.is_deleted
         ORDER BY m.seq DESC LIMIT 1) AS last_message_at
FROM rooms r;
